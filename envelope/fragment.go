package envelope

// The plugin path (Sotto protocol §1.2).
const (
	// DataID is the dataID of a PluginDataTransmission that holds a Fragment.
	DataID = "sotto/1"
	// MaxFragmentData is the longest data of a plugin message in bytes; Murmur
	// refuses more (Mumble src/murmur/Messages.cpp, msgPluginDataTransmission).
	MaxFragmentData = 1000
	// MaxPart is the length of every part but the last, which has 1 to MaxPart.
	MaxPart = MaxFragmentData - fragmentHeader
	// MaxFragments is the largest count.
	MaxFragments = 64

	fragmentVersion = 1
	fragmentHeader  = 12
)

// Fragment is one part of an object on the plugin path.
type Fragment struct {
	Kind  Kind
	ID    ID
	Index uint8  // 0 to Count-1
	Count uint8  // 1 to 64
	Part  []byte // 988 bytes, the last part 1 to 988
}

func (f Fragment) check() error {
	switch {
	case f.Count < 1 || f.Count > MaxFragments || f.Index >= f.Count:
		return ErrIndex
	case len(f.Part) == 0:
		return ErrEmpty
	case len(f.Part) > MaxPart:
		return &LengthError{"fragment part", len(f.Part), MaxPart}
	case f.Index < f.Count-1 && len(f.Part) != MaxPart:
		return ErrPartLen
	}
	return nil
}

// Append appends the bytes of f to dst. It refuses a fragment that ParseFragment
// would refuse and returns dst unchanged with the error.
func (f Fragment) Append(dst []byte) ([]byte, error) {
	if err := f.check(); err != nil {
		return dst, err
	}
	dst = append(dst, fragmentVersion, byte(f.Kind))
	dst = append(dst, f.ID[:]...)
	dst = append(dst, f.Index, f.Count)
	return append(dst, f.Part...), nil
}

// ParseFragment reads the data of a plugin message, all of it. The kind may be
// unknown (Kind.Known); everything else is checked. Part aliases b.
func ParseFragment(b []byte) (Fragment, error) {
	switch {
	case len(b) > MaxFragmentData:
		return Fragment{}, &LengthError{"fragment", len(b), MaxFragmentData}
	case len(b) > 0 && b[0] != fragmentVersion:
		return Fragment{}, ErrVersion // before the length: another version may have another shape
	case len(b) < fragmentHeader:
		return Fragment{}, ErrTruncated
	}
	f := Fragment{Kind: Kind(b[1]), ID: ID(b[2:10]), Index: b[10], Count: b[11], Part: b[fragmentHeader:]}
	if err := f.check(); err != nil {
		return Fragment{}, err
	}
	return f, nil
}

// AppendSingle appends o as one Fragment of one, for a body of 1 to MaxPart
// bytes. A longer body is a [LengthError], an empty one ErrEmpty; dst then comes
// back unchanged.
func AppendSingle(dst []byte, o Object) ([]byte, error) {
	f := Fragment{Kind: o.Kind, Index: 0, Count: 1, Part: o.Body}
	if err := f.check(); err != nil {
		return dst, err
	}
	f.ID = o.Ref().ID()
	return f.Append(dst)
}

// OpenSingle returns the object that f holds whole. If f is one of several the
// error is ErrNotSingle; if the object's ref does not begin with f.ID it is
// ErrID. Body aliases f.Part.
func OpenSingle(f Fragment) (Object, error) {
	if f.Count != 1 || f.Index != 0 {
		return Object{}, ErrNotSingle
	}
	o := Object{Kind: f.Kind, Body: f.Part}
	if o.Ref().ID() != f.ID {
		return Object{}, ErrID
	}
	return o, nil
}
