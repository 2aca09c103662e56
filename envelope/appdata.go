package envelope

import "encoding/binary"

// AppType says what application data is (Sotto protocol §8). Types that are
// not named here are ignored by receivers, not refused.
type AppType uint8

// The types of version 1.
const (
	AppText   AppType = 1
	AppVerify AppType = 2 // §9
	AppLeave  AppType = 6 // the body is empty
	AppPlugin AppType = 7 // of the client's plugins
)

// MaxHTML is the longest text in bytes of HTML, and MaxAppBody the longest body
// around it, which no other type exceeds either.
const (
	MaxHTML    = 96000
	MaxAppBody = 1 + 4 + 4 + MaxHTML
)

// AppData is what an application message of MLS holds (Sotto protocol §8).
//
//	uint8 type; opaque id[16]; uint32 seq; uint64 sent_ms; opaque body<V>
type AppData struct {
	Type   AppType
	ID     [16]byte // random; a receiver takes it once
	Seq    uint32   // per leaf, from 0
	SentMS uint64   // Unix milliseconds; display only
	Body   []byte
}

// Append appends the bytes of d.
func (d AppData) Append(dst []byte) []byte {
	dst = append(append(dst, byte(d.Type)), d.ID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, d.Seq)
	dst = binary.BigEndian.AppendUint64(dst, d.SentMS)
	return appendVector(dst, d.Body)
}

// ParseAppData reads all of b, whose padding MLS has removed. A leave with a
// body is ErrValue; any other body is opaque here. Body aliases b.
func ParseAppData(b []byte) (AppData, error) {
	r := reader{b: b}
	d := AppData{Type: AppType(r.uint8())}
	r.fixed(d.ID[:])
	d.Seq, d.SentMS = r.uint32(), r.uint64()
	d.Body = r.vector("application data", MaxAppBody)
	r.need(r.err != nil || d.Type != AppLeave || len(d.Body) == 0)
	if err := r.end(); err != nil {
		return AppData{}, err
	}
	return d, nil
}

// Scope says to whom a text was written.
type Scope uint8

// The scopes of version 1; others are refused.
const (
	ScopeChannel Scope = 0
	ScopeTree    Scope = 1
	ScopePrivate Scope = 2
)

// NoChannel stands where there is no channel: in a private text, and as the
// anchor of a direct group.
const NoChannel uint32 = 0xFFFFFFFF

// AppTextBody is the body of AppData of type AppText.
//
//	uint8 scope; uint32 channel; opaque html<V>
type AppTextBody struct {
	Scope   Scope
	Channel uint32 // NoChannel with ScopePrivate and only then
	HTML    []byte // at most MaxHTML bytes, not checked further
}

// Append appends the bytes of t.
func (t AppTextBody) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, byte(t.Scope)), t.Channel)
	return appendVector(dst, t.HTML)
}

// ParseAppText reads all of b. HTML aliases b.
func ParseAppText(b []byte) (AppTextBody, error) {
	r := reader{b: b}
	t := AppTextBody{Scope: Scope(r.uint8()), Channel: r.uint32()}
	r.need(r.err != nil || t.Scope <= ScopePrivate && (t.Scope == ScopePrivate) == (t.Channel == NoChannel))
	t.HTML = r.vector("text", MaxHTML)
	if err := r.end(); err != nil {
		return AppTextBody{}, err
	}
	return t, nil
}

// Bounds of what a plugin of the client sends, those of Murmur for
// PluginDataTransmission (src/murmur/Messages.cpp, msgPluginDataTransmission).
const (
	MaxPluginID   = 100
	MaxPluginData = 1000
)

// AppPluginBody is the body of AppData of type AppPlugin: what Mumble carries as
// PluginDataTransmission.
//
//	opaque data_id<V>; opaque data<V>
type AppPluginBody struct {
	DataID []byte // 1 to MaxPluginID bytes
	Data   []byte // at most MaxPluginData bytes
}

// Append appends the bytes of p.
func (p AppPluginBody) Append(dst []byte) []byte {
	return appendVector(appendVector(dst, p.DataID), p.Data)
}

// ParseAppPlugin reads all of b, and aliases it.
func ParseAppPlugin(b []byte) (AppPluginBody, error) {
	r := reader{b: b}
	p := AppPluginBody{DataID: r.vector("data_id", MaxPluginID)}
	r.need(r.err != nil || len(p.DataID) > 0)
	p.Data = r.vector("plugin data", MaxPluginData)
	if err := r.end(); err != nil {
		return AppPluginBody{}, err
	}
	return p, nil
}
