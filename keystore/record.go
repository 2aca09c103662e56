package keystore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// recordFormat is the version of server.json. It grows when an older Sotto
// would misunderstand a file; new fields alone do not do that.
const recordFormat = 1

// record is the contents of server.json:
//
//	{
//	  "format": 1,
//	  "address": "voice.example.org:64738",
//	  "first_seen": "2026-01-31T12:00:00Z",
//	  "port": 64801,                     of guard's listener
//	  "pin": "6a25...",                  SHA-256 of the server's certificate
//	  "client_pin": "59f0..."            SHA-256 of the stock client's certificate
//	}
//
// Fields of other versions are kept as they are.
type record struct {
	Address   string
	FirstSeen time.Time
	Port      uint16    // 0: none yet
	Pin       *[32]byte // nil: none yet
	ClientPin *[32]byte // nil: none yet

	other map[string]json.RawMessage
}

func parseRecord(b []byte) (*record, error) {
	fields := map[string]json.RawMessage{}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&fields); err != nil || fields == nil {
		return nil, errors.New("no JSON object")
	}
	if dec.More() {
		return nil, errors.New("something follows the JSON object")
	}
	r := &record{other: fields}
	var format int
	var pin, clientPin string
	for name, dst := range map[string]any{
		"format": &format, "address": &r.Address, "first_seen": &r.FirstSeen,
		"port": &r.Port, "pin": &pin, "client_pin": &clientPin,
	} {
		if raw, ok := fields[name]; ok {
			if err := json.Unmarshal(raw, dst); err != nil {
				return nil, fmt.Errorf("impossible %s", name)
			}
			delete(fields, name)
		}
	}
	if format != recordFormat {
		return nil, fmt.Errorf("format %d, this Sotto reads %d", format, recordFormat)
	}
	var err error
	if r.Pin, err = parsePin(pin); err != nil {
		return nil, errors.New("impossible pin")
	}
	if r.ClientPin, err = parsePin(clientPin); err != nil {
		return nil, errors.New("impossible client_pin")
	}
	return r, nil
}

// parsePin reads a pin. An empty one is none; a broken one must never be taken
// for none, or damage would be a way past the alarm.
func parsePin(s string) (*[32]byte, error) {
	if s == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		return nil, errors.New("not a pin")
	}
	return (*[32]byte)(b), nil
}

func (r *record) encode() ([]byte, error) {
	fields := map[string]any{"format": recordFormat, "address": r.Address, "first_seen": r.FirstSeen}
	for name, raw := range r.other {
		fields[name] = raw
	}
	if r.Port != 0 {
		fields["port"] = r.Port
	}
	if r.Pin != nil {
		fields["pin"] = hex.EncodeToString(r.Pin[:])
	}
	if r.ClientPin != nil {
		fields["client_pin"] = hex.EncodeToString(r.ClientPin[:])
	}
	b, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	return append(b, '\n'), nil
}

// load reads the server's record. One that is not there yet is new.
func (s *Server) load() (*record, error) {
	path := s.path("server.json")
	b, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &record{Address: s.address, FirstSeen: time.Now().UTC().Truncate(time.Second)}, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(b)
	if err != nil {
		return nil, corrupt(path, err.Error())
	}
	if r.Address != s.address {
		return nil, corrupt(path, fmt.Sprintf("it is about %q", r.Address))
	}
	return r, nil
}

// change reads the record, lets f change it, and writes it back, with nobody
// else in between. If f returns an error nothing is written.
func (s *Server) change(f func(*record) error) error {
	unlock, err := s.store.lock()
	if err != nil {
		return err
	}
	defer unlock()
	r, err := s.load()
	if err != nil {
		return err
	}
	if err := f(r); err != nil {
		return err
	}
	b, err := r.encode()
	if err != nil {
		return err
	}
	return writeFile(s.path("server.json"), b)
}
