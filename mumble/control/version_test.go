package control_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

func TestVersion(t *testing.T) {
	for _, tt := range []struct {
		major, minor, patch uint16
		v2                  control.Version
		v1                  uint32
		s                   string
	}{
		{1, 5, 735, 0x0001000502df0000, 0x0105ff, "1.5.735"},
		{1, 3, 4, 0x0001000300040000, 0x010304, "1.3.4"},
		{1, 2, 255, 0x0001000200ff0000, 0x0102ff, "1.2.255"},
		{300, 400, 65535, 0x012c0190ffff0000, 0xffffff, "300.400.65535"},
		{0, 0, 0, 0, 0, "0.0.0"},
	} {
		v := control.MakeVersion(tt.major, tt.minor, tt.patch)
		if v != tt.v2 || v.V1() != tt.v1 || v.String() != tt.s {
			t.Errorf("%s: %#x, %#x, %v", tt.s, uint64(v), v.V1(), v)
		}
		var m mumblepb.Version
		v.Set(&m)
		if m.GetVersionV1() != tt.v1 || m.GetVersionV2() != uint64(tt.v2) || control.VersionOf(&m) != v {
			t.Errorf("%s: set to %v", tt.s, &m)
		}
		back := control.VersionFromV1(tt.v1)
		if want := control.MakeVersion(min(tt.major, 255), min(tt.minor, 255), min(tt.patch, 255)); back != want {
			t.Errorf("%s: back from V1 as %v", tt.s, back)
		}
	}
}

func TestVersionOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    *mumblepb.Version
		want control.Version
	}{
		{"nil", nil, 0},
		{"nothing", &mumblepb.Version{}, 0},
		{"v1", &mumblepb.Version{VersionV1: proto.Uint32(0x010304)}, control.MakeVersion(1, 3, 4)},
		{"v2", &mumblepb.Version{VersionV2: proto.Uint64(0x0001000502df0000)}, control.MakeVersion(1, 5, 735)},
		{"both", &mumblepb.Version{VersionV1: proto.Uint32(0x0105ff), VersionV2: proto.Uint64(0x0001000502df0000)}, control.MakeVersion(1, 5, 735)},
		{"v2 of 0 says nothing", &mumblepb.Version{VersionV1: proto.Uint32(0x010304), VersionV2: proto.Uint64(0)}, control.MakeVersion(1, 3, 4)},
	} {
		if got := control.VersionOf(tt.m); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestVersionOrder(t *testing.T) {
	order := []control.Version{0, control.MakeVersion(1, 2, 19), control.MakeVersion(1, 3, 4), control.MakeVersion(1, 4, 65535),
		control.MakeVersion(1, 5, 0), control.MakeVersion(1, 5, 256), control.MakeVersion(1, 6, 0), control.MakeVersion(2, 0, 0)}
	for i := 1; i < len(order); i++ {
		if !(order[i-1] < order[i]) {
			t.Errorf("%v is not before %v", order[i-1], order[i])
		}
	}
}
