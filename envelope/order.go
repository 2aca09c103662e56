package envelope

import "encoding/binary"

// RefObject says that an object sent beside the order has its point in it here
// (kind KindRef, Sotto protocol §1.1).
//
//	opaque ref[32]; uint8 kind; uint32 size; opaque group_id<V>; uint64 epoch
//
// Group and Epoch say whose order waits for the body: a receiver that lacks it
// could not know otherwise.
type RefObject struct {
	Ref   Ref
	Kind  Kind    // a known one that is ordered or bulk: neither Ref nor Probe
	Size  uint32  // of the body in bytes, 1 to MaxWelcome
	Group GroupID // never zero
	Epoch uint64  // that the Commit ends
}

// RefOf returns the ref of an object of this kind and body.
func RefOf(kind Kind, body []byte) Ref { return Object{Kind: kind, Body: body}.Ref() }

// Append appends the body.
func (o RefObject) Append(dst []byte) []byte {
	dst = append(append(dst, o.Ref[:]...), byte(o.Kind))
	dst = binary.BigEndian.AppendUint32(dst, o.Size)
	return binary.BigEndian.AppendUint64(o.Group.append(dst), o.Epoch)
}

// ParseRef reads a body of kind KindRef, all of it. Nothing aliases b.
func ParseRef(b []byte) (RefObject, error) {
	r := reader{b: b}
	var o RefObject
	r.fixed(o.Ref[:])
	o.Kind = Kind(r.uint8())
	o.Size = r.uint32()
	o.Group, o.Epoch = r.group(), r.uint64()
	r.need(r.err != nil || o.Kind.Known() && o.Kind != KindRef && o.Kind != KindProbe && o.Size >= 1 && o.Size <= MaxWelcome)
	if err := r.end(); err != nil {
		return RefObject{}, err
	}
	return o, nil
}

// Want asks for an object that is missing: by its ref, or, with an all-zero ref,
// for the Commit of a group and epoch (Sotto protocol §1.1).
//
//	opaque ref[32]; opaque group_id<V>; uint64 epoch
type Want struct {
	Ref   Ref     // all zero if Group and Epoch say it
	Group GroupID // zero if Ref says it
	Epoch uint64  // 0 if Ref says it
}

// Append appends the body of kind KindWant.
func (w Want) Append(dst []byte) []byte {
	dst = w.Group.append(append(dst, w.Ref[:]...))
	return binary.BigEndian.AppendUint64(dst, w.Epoch)
}

// ParseWant reads a body, all of it. Nothing aliases b.
func ParseWant(b []byte) (Want, error) {
	r := reader{b: b}
	var w Want
	r.fixed(w.Ref[:])
	w.Group = r.maybeGroup()
	w.Epoch = r.uint64()
	byRef := w.Ref != Ref{}
	r.need(r.err != nil || byRef == w.Group.IsZero() && (!byRef || w.Epoch == 0))
	if err := r.end(); err != nil {
		return Want{}, err
	}
	return w, nil
}

// Digest bounds of a Beacon.
const (
	// MaxPast is how many earlier epochs a Beacon names at most.
	MaxPast = 8
	// PastLen is the length of one of them, D(epoch)[0:8].
	PastLen = 8
)

// Beacon says which epoch of a group a member is in (Sotto protocol §6.4).
//
//	opaque group_id<V>; CipherSuite suite; uint64 epoch; uint32 leaf; uint32 seq;
//	opaque now[16]; opaque past<V>; opaque signature<V>
type Beacon struct {
	Group GroupID
	Suite uint16
	Epoch uint64
	Leaf  uint32
	Seq   uint32          // grows per leaf
	Now   [16]byte        // D(epoch)[0:16]
	Past  [][PastLen]byte // D(epoch-1), D(epoch-2) ...; at most MaxPast, and no more than Epoch
	// Signature is made with the leaf's key under the label "Beacon" over
	// SignedContent.
	Signature [SignatureLen]byte
}

// SignedContent returns the bytes that the signature covers: all before it.
func (m Beacon) SignedContent() []byte { return m.appendSigned(nil) }

func (m Beacon) appendSigned(dst []byte) []byte {
	dst = m.Group.append(dst)
	dst = binary.BigEndian.AppendUint16(dst, m.Suite)
	dst = binary.BigEndian.AppendUint64(dst, m.Epoch)
	dst = binary.BigEndian.AppendUint32(dst, m.Leaf)
	dst = binary.BigEndian.AppendUint32(dst, m.Seq)
	dst = append(dst, m.Now[:]...)
	past := make([]byte, 0, MaxPast*PastLen)
	for _, p := range m.Past {
		past = append(past, p[:]...)
	}
	return appendVector(dst, past)
}

// Append appends the body of kind KindBeacon.
func (m Beacon) Append(dst []byte) []byte {
	return appendVector(m.appendSigned(dst), m.Signature[:])
}

// ParseBeacon reads a body, all of it, and does not verify it. Nothing aliases b.
func ParseBeacon(b []byte) (Beacon, error) {
	r := reader{b: b}
	m := Beacon{Group: r.group(), Suite: r.uint16(), Epoch: r.uint64(), Leaf: r.uint32(), Seq: r.uint32()}
	r.fixed(m.Now[:])
	past := r.vector("past epochs", MaxPast*PastLen)
	r.need(r.err != nil || len(past)%PastLen == 0 && uint64(len(past)/PastLen) <= m.Epoch)
	r.exactly(m.Signature[:])
	if err := r.end(); err != nil {
		return Beacon{}, err
	}
	for ; len(past) > 0; past = past[PastLen:] {
		m.Past = append(m.Past, [PastLen]byte(past))
	}
	return m, nil
}

// Report says that a member could not process a Commit (Sotto protocol §1.1).
//
//	opaque group_id<V>; uint64 epoch; opaque commit_ref[32]; uint8 reason;
//	uint32 leaf; uint32 seq; opaque signature<V>
type Report struct {
	Group  GroupID
	Epoch  uint64
	Commit Ref
	Reason uint8 // display only; the protocol leaves the numbers to the engine
	Leaf   uint32
	Seq    uint32
	// Signature is made with the leaf's key under the label "Report" over
	// SignedContent.
	Signature [SignatureLen]byte
}

// SignedContent returns the bytes that the signature covers: all before it.
func (m Report) SignedContent() []byte { return m.appendSigned(nil) }

func (m Report) appendSigned(dst []byte) []byte {
	dst = m.Group.append(dst)
	dst = binary.BigEndian.AppendUint64(dst, m.Epoch)
	dst = append(append(dst, m.Commit[:]...), m.Reason)
	dst = binary.BigEndian.AppendUint32(dst, m.Leaf)
	return binary.BigEndian.AppendUint32(dst, m.Seq)
}

// Append appends the body of kind KindReport.
func (m Report) Append(dst []byte) []byte {
	return appendVector(m.appendSigned(dst), m.Signature[:])
}

// ParseReport reads a body, all of it, and does not verify it. Nothing aliases b.
func ParseReport(b []byte) (Report, error) {
	r := reader{b: b}
	m := Report{Group: r.group(), Epoch: r.uint64()}
	r.fixed(m.Commit[:])
	m.Reason, m.Leaf, m.Seq = r.uint8(), r.uint32(), r.uint32()
	r.exactly(m.Signature[:])
	if err := r.end(); err != nil {
		return Report{}, err
	}
	return m, nil
}
