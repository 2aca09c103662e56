package endpoint

import "github.com/sotto-voip/sotto/mumble/control"

// SetVersion is what the server says that it is.
func (e *Endpoint) SetVersion(v control.Version) { e.version = uint64(v) }
