package guard

import (
	"testing"

	"github.com/sotto-voip/sotto/mumble/control"
)

// Every type of message has its row, or ends at each leg. A new one must be
// thought about before it passes.
func TestTableIsWhole(t *testing.T) {
	ends := map[control.Type]bool{control.TypeUDPTunnel: true, control.TypePing: true, control.TypeCryptSetup: true}
	for kind := control.TypeVersion; kind <= control.TypePluginDataTransmission; kind++ {
		if _, ok := table[kind]; ok == ends[kind] {
			t.Errorf("%v: in the table %v, ends at the leg %v", kind, ok, ends[kind])
		}
	}
	if want := int(control.TypePluginDataTransmission) + 1 - len(ends); len(table) != want {
		t.Errorf("the table has %d rows, want %d", len(table), want)
	}
	for kind := range table {
		if _, ok := control.New(kind); !ok {
			t.Errorf("%v is no message", kind)
		}
	}
}
