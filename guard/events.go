package guard

import (
	"time"

	"github.com/sotto-voip/sotto/events"
)

// emitRefusal emits what any user of this machine can cause, as often as a
// person would want to read it.
func (g *Guard) emitRefusal(e events.Event) {
	if g.refusals.take(time.Now()) {
		g.emit(e)
	}
}

func (g *Guard) emit(e events.Event) {
	e.Time = time.Now().UTC()
	g.cfg.Events(e)
}
