package trust

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sotto-voip/sotto/identity"
)

// MaxBytes is the length of the longest Book in bytes.
const MaxBytes = 32 << 20

// ErrFormat means that bytes are no Book: damaged, changed by hand, or written
// by a newer Sotto.
var ErrFormat = errors.New("trust: damaged or written by a newer Sotto")

const format = 1

// The file, one entry a line, each list in order. Times are Unix seconds.
type (
	file struct {
		Format    int             `json:"format"`
		People    []fileEntry     `json:"people"`
		Marks     []fileMark      `json:"marks"`
		Protected []fileProtected `json:"protected"`
		Servers   []fileServer    `json:"servers"`
	}
	fileEntry struct {
		Key   string `json:"key"`
		Name  string `json:"name,omitempty"`
		First int64  `json:"first"`
		Last  int64  `json:"last"`
	}
	fileMark struct {
		Kind   string   `json:"kind"`
		Server string   `json:"server,omitempty"`
		Value  string   `json:"value"`
		Keys   []string `json:"keys"`
		Seen   int64    `json:"seen"`
	}
	fileProtected struct {
		Kind   string `json:"kind"`
		Server string `json:"server,omitempty"`
		Value  string `json:"value"`
		Last   int64  `json:"last"`
	}
	fileServer struct {
		Server  string `json:"server"`
		Suite   uint16 `json:"suite,omitempty"`
		Regime  uint8  `json:"regime,omitempty"`
		Version uint64 `json:"version,omitempty"`
		Last    int64  `json:"last"`
	}
)

// Marshal returns b as Parse reads it, never longer than MaxBytes. Equal Books
// give equal bytes.
func (b *Book) Marshal() []byte {
	var f file
	byBytes := func(x, y identity.PublicKey) int { return slices.Compare(x[:], y[:]) }
	for _, p := range slices.SortedFunc(maps.Keys(b.people), byBytes) {
		e := b.people[p]
		f.People = append(f.People, fileEntry{hex.EncodeToString(p[:]), e.name, e.first, e.last})
	}
	for _, k := range slices.SortedFunc(maps.Keys(b.marks), key.compare) {
		keys := make([]string, len(b.marks[k].keys))
		for i, p := range b.marks[k].keys {
			keys[i] = hex.EncodeToString(p[:])
		}
		f.Marks = append(f.Marks, fileMark{k.kind.String(), k.server, k.value, keys, b.marks[k].seen})
	}
	for _, k := range slices.SortedFunc(maps.Keys(b.protected), key.compare) {
		f.Protected = append(f.Protected, fileProtected{k.kind.String(), k.server, k.value, b.protected[k]})
	}
	for _, s := range slices.Sorted(maps.Keys(b.servers)) {
		v := b.servers[s]
		f.Servers = append(f.Servers, fileServer{s, v.Suite, uint8(v.Regime), v.Version, v.last})
	}
	out := fmt.Appendf(nil, "{\"format\":%d", format)
	out = list(out, "people", f.People)
	out = list(out, "marks", f.Marks)
	out = list(out, "protected", f.Protected)
	out = list(out, "servers", f.Servers)
	return append(out, "}\n"...)
}

func list[T any](out []byte, name string, entries []T) []byte {
	out = fmt.Appendf(out, ",\n%q:[", name)
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	for i, e := range entries {
		line.Reset()
		_ = enc.Encode(e) // strings and numbers, into memory: it cannot fail
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '\n')
		out = append(out, bytes.TrimSuffix(line.Bytes(), []byte("\n"))...)
	}
	return append(out, ']')
}

// Parse reads what Marshal wrote and nothing else: what was half understood
// would be lost at the next write. Errors are ErrFormat.
func Parse(data []byte) (*Book, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrFormat, MaxBytes)
	}
	var f file
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w: no JSON of this form", ErrFormat)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows", ErrFormat)
	}
	if f.Format != format {
		return nil, fmt.Errorf("%w: format %d, this Sotto reads %d", ErrFormat, f.Format, format)
	}
	if len(f.People) > maxPeople || len(f.Marks) > maxMarks || len(f.Protected) > maxProtected || len(f.Servers) > maxServers {
		return nil, fmt.Errorf("%w: too many entries", ErrFormat)
	}
	b := &Book{
		people: map[identity.PublicKey]*entry{}, marks: map[key]*mark{},
		protected: map[key]int64{}, servers: map[string]*facts{},
	}
	if err := cmp.Or(b.readPeople(f.People), b.readMarks(f.Marks), b.readProtected(f.Protected), b.readServers(f.Servers)); err != nil {
		return nil, err
	}
	// One Book has one form. This finds what JSON lets pass: doubled fields and
	// entries, another order, other cases.
	if !bytes.Equal(b.Marshal(), data) {
		return nil, fmt.Errorf("%w: not in the form it is written in", ErrFormat)
	}
	return b, nil
}

func (b *Book) readPeople(entries []fileEntry) error {
	for _, e := range entries {
		p, err := parseKey(e.Key)
		if err != nil || e.Name != clean(e.Name, maxShown) {
			return fmt.Errorf("%w: impossible person", ErrFormat)
		}
		b.people[p] = &entry{name: e.Name, first: e.First, last: e.Last}
	}
	return nil
}

func (b *Book) readMarks(entries []fileMark) error {
	for _, e := range entries {
		k, ok := parseMark(e.Kind, e.Server, e.Value)
		if !ok || k.kind > ByName || len(e.Keys) < 1 || len(e.Keys) > maxMarkKeys {
			return fmt.Errorf("%w: impossible mark", ErrFormat)
		}
		m := &mark{seen: e.Seen}
		for _, s := range e.Keys {
			p, err := parseKey(s)
			if err != nil || b.people[p] == nil || slices.Contains(m.keys, p) {
				return fmt.Errorf("%w: mark of nobody", ErrFormat)
			}
			m.keys = append(m.keys, p)
			b.people[p].marks++
		}
		b.marks[k] = m
	}
	return nil
}

func (b *Book) readProtected(entries []fileProtected) error {
	for _, e := range entries {
		k, ok := parseMark(e.Kind, e.Server, e.Value)
		if !ok || k != stickyOf(k) {
			return fmt.Errorf("%w: impossible memory", ErrFormat)
		}
		b.protected[k] = e.Last
	}
	return nil
}

func (b *Book) readServers(entries []fileServer) error {
	for _, e := range entries {
		if e.Server != serverName(e.Server) || Regime(e.Regime) > RegimeEcho {
			return fmt.Errorf("%w: impossible server", ErrFormat)
		}
		b.servers[e.Server] = &facts{Facts{e.Suite, Regime(e.Regime), e.Version}, e.Last}
	}
	return nil
}

func parseKey(s string) (identity.PublicKey, error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(identity.PublicKey{}) || strings.ToLower(s) != s {
		return identity.PublicKey{}, ErrFormat
	}
	p := identity.PublicKey(raw)
	return p, p.Check()
}

// parseMark checks the shape of a mark or a protected thing.
func parseMark(kind, server, value string) (key, bool) {
	k := key{Kind(slices.Index(kindNames[:], kind)), server, value}
	if kind == "" || int8(k.kind) <= 0 || server != serverName(server) {
		return k, false
	}
	switch k.kind {
	case ByCertificate:
		return k, server == "" && isHash(value)
	case byIdentity:
		_, err := parseKey(value)
		return k, server == "" && err == nil
	case ByRegistration, byChannel:
		return k, isNumber(value)
	case ByName:
		return k, value != "" && value == clean(value, maxName)
	}
	return k, false
}
