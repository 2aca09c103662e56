package control

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// A Version is a version of Mumble's protocol in the form of Version.version_v2:
// 16 bits each of major, minor and patch, and 16 spare ones (Mumble
// src/Version.h). Versions compare with <. The zero Version stands for a peer
// that said nothing.
type Version uint64

// MakeVersion puts a Version together; the spare bits are zero.
func MakeVersion(major, minor, patch uint16) Version {
	return Version(major)<<48 | Version(minor)<<32 | Version(patch)<<16
}

// VersionFromV1 reads the form of Version.version_v1, 0xMMMMmmpp.
func VersionFromV1(v1 uint32) Version {
	return MakeVersion(uint16(v1>>16), uint16(v1>>8&0xff), uint16(v1&0xff))
}

// VersionOf returns the version a peer states. version_v2 wins, because
// version_v1 cannot say a patch above 255; the result is zero if m is nil or
// states neither.
func VersionOf(m *mumblepb.Version) Version {
	if v2 := m.GetVersionV2(); v2 != 0 {
		return Version(v2)
	}
	return VersionFromV1(m.GetVersionV1())
}

// V1 returns the form of Version.version_v1, 0x00MMmmpp, with parts above 255
// capped there: 1.5.735 is 0x0105FF.
func (v Version) V1() uint32 {
	major, minor, patch := v.parts()
	return uint32(min(major, 255))<<16 | uint32(min(minor, 255))<<8 | uint32(min(patch, 255))
}

// Set states v in both fields of on, as Mumble 1.5 and later do.
func (v Version) Set(on *mumblepb.Version) {
	on.VersionV1 = proto.Uint32(v.V1())
	on.VersionV2 = proto.Uint64(uint64(v))
}

// String returns "1.5.735".
func (v Version) String() string {
	major, minor, patch := v.parts()
	return fmt.Sprintf("%d.%d.%d", major, minor, patch)
}

func (v Version) parts() (major, minor, patch uint16) {
	return uint16(v >> 48), uint16(v >> 32), uint16(v >> 16)
}
