package guard

import (
	"time"

	"github.com/sotto-voip/sotto/events"
)

func (g *Guard) emit(e events.Event) {
	e.Time = time.Now().UTC()
	g.cfg.Events(e)
}
