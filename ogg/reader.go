package ogg

import "io"

// MaxPacket is the longest packet in bytes that Reader returns and Writer takes.
const MaxPacket = 64 << 10

// Packet is one packet as it lies in the stream.
type Packet struct {
	// Data is the packet. It belongs to the Reader, which reuses it at the next
	// call.
	Data []byte
	// Granule is the granule position of the page, in samples at 48 kHz, if this
	// is the last packet that ends on it, else -1.
	Granule int64
	// EOS says that this packet is the last one on the page that ends the stream.
	// A stream may instead end with an empty page; then no packet has it.
	EOS bool
}

// Reader reads the packets of the first Opus stream it finds. It reads page by
// page and never a byte beyond the page that ends the stream, so the links of a
// chained file can be read by one Reader after the other, all on the same
// io.Reader. Pages of other streams are skipped.
//
// Damage is an error, not skipped: a file is not a network, and silence where a
// page was should be somebody's decision. The packets before the damage have
// been returned by then. Errors repeat themselves.
//
// It holds at most one page and one packet, about 128 KiB. Give it a
// bufio.Reader if small reads are dear. Not safe for concurrent use.
type Reader struct {
	r    io.Reader
	head Head
	tags Tags
	err  error

	page    page
	serial  uint32
	next    uint32 // sequence number of the next page
	begun   bool   // a page after the BOS page was read: no more BOS pages of others
	segment int    // in page.segments, the first not yet read
	offset  int    // in page.body likewise
	partial []byte // a packet that began on earlier pages
	open    bool   // partial is such a packet, perhaps still empty
}

// NewReader reads the two headers and returns a Reader that stands before the
// first audio packet. Input without an Opus stream is ErrNotOpus, empty input
// io.EOF.
func NewReader(r io.Reader) (*Reader, error) {
	o := &Reader{r: r}
	if err := o.findHead(); err != nil {
		return nil, err
	}
	data, cut, err := o.readTags()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if o.tags, err = parseTags(data, cut); err != nil {
		return nil, err
	}
	// The comment header finishes its page; audio begins on a new one.
	if o.segment < len(o.page.segments) {
		return nil, ErrPacket
	}
	return o, nil
}

// Head returns the identification header. Its Mapping must not be changed.
func (o *Reader) Head() Head { return o.head }

// Tags returns the comment header. Its Comments must not be changed.
func (o *Reader) Tags() Tags { return o.tags }

// findHead reads the BOS pages, which stand before all others (RFC 3533 section
// 4), until one holds an OpusHead and nothing else.
func (o *Reader) findHead() error {
	for first := true; ; first = false {
		if err := o.page.read(o.r); err != nil {
			if err == io.EOF && !first {
				err = ErrNotOpus
			}
			return err
		}
		p := &o.page
		if p.flags&flagBOS == 0 {
			return ErrNotOpus
		}
		if !isHead(p.body) {
			continue
		}
		if p.flags&flagContinued != 0 || packetsOn(p.segments) != 1 || p.segments[len(p.segments)-1] == 255 {
			return ErrPacket
		}
		var err error
		if o.head, err = parseHead(p.body); err != nil {
			return err
		}
		o.serial, o.next = p.serial, p.sequence+1
		o.segment, o.offset = len(p.segments), len(p.body)
		return nil
	}
}

// packetsOn counts the packets that end on a page.
func packetsOn(segments []byte) (n int) {
	for _, lacing := range segments {
		if lacing < 255 {
			n++
		}
	}
	return n
}

// readTags reads the second packet, keeping its first MaxTags bytes; cut says
// that there was more.
func (o *Reader) readTags() (data []byte, cut bool, err error) {
	total := 0
	for {
		piece, done := o.piece()
		total += len(piece)
		if total > maxTagsSkip {
			return nil, false, ErrTooLong
		}
		data = append(data, piece[:min(len(piece), MaxTags-len(data))]...)
		if done {
			o.open = false
			return data, total > len(data), nil
		}
		if err := o.nextPage(); err != nil {
			return nil, false, err
		}
	}
}

// Next returns the next packet. The end of the stream is io.EOF; so is input
// that ends between pages without an end-of-stream page, which is what a
// recorder leaves behind when it is killed. A packet may be empty or no valid
// Opus; package opus knows.
func (o *Reader) Next() (Packet, error) {
	if o.err != nil {
		return Packet{}, o.err
	}
	p, err := o.read()
	o.err = err
	return p, err
}

func (o *Reader) read() (Packet, error) {
	o.partial = o.partial[:0]
	for {
		piece, done := o.piece()
		if len(o.partial)+len(piece) > MaxPacket {
			return Packet{}, ErrTooLong
		}
		if done {
			data := piece
			if len(o.partial) > 0 {
				o.partial = append(o.partial, piece...)
				data = o.partial
			}
			o.open = false
			p := Packet{Data: data, Granule: noGranule}
			if packetsOn(o.page.segments[o.segment:]) == 0 {
				p.Granule = o.page.granule
				p.EOS = o.page.flags&flagEOS != 0
			}
			return p, nil
		}
		o.partial = append(o.partial, piece...)
		if err := o.nextPage(); err != nil {
			return Packet{}, err
		}
	}
}

// piece takes what the page still holds of the current packet; done says that
// the packet ends there.
func (o *Reader) piece() (b []byte, done bool) {
	start := o.offset
	for o.segment < len(o.page.segments) {
		lacing := o.page.segments[o.segment]
		o.segment++
		o.offset += int(lacing)
		o.open = true
		if lacing < 255 {
			done = true
			break
		}
	}
	return o.page.body[start:o.offset], done
}

// nextPage reads on to the next page of our stream.
func (o *Reader) nextPage() error {
	if o.page.flags&flagEOS != 0 && o.page.serial == o.serial {
		return o.end()
	}
	for {
		if err := o.page.read(o.r); err != nil {
			if err == io.EOF {
				return o.end()
			}
			return err
		}
		p := &o.page
		switch {
		case p.flags&flagBOS != 0 && (o.begun || p.serial == o.serial):
			return ErrChained
		case p.serial != o.serial:
			continue
		case p.sequence != o.next:
			return ErrSequence
		case p.flags&flagContinued != 0 != o.open:
			return ErrPacket
		}
		o.next++
		o.begun = true
		o.segment, o.offset = 0, 0
		return nil
	}
}

func (o *Reader) end() error {
	if o.open {
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}
