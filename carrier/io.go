package carrier

import (
	"errors"
	"fmt"

	"github.com/sotto-voip/sotto/envelope"
)

// Priority orders what waits to be sent; lower values go first and equal ones
// in the order they came (Sotto protocol §1.2). Values above PriorityUpdate
// count as PriorityUpdate.
type Priority uint8

// The priorities, in the order they are served.
const (
	PriorityRemove  Priority = iota // Commits that remove somebody
	PriorityWelcome                 // Welcome
	PriorityAdd                     // Commits that add somebody
	PriorityHello                   // Hello, Presence, KeyPackage requests and replies, SecretReady, Want
	PriorityText                    // what people write
	PriorityBeacon                  // Beacon, Report
	PriorityUpdate                  // Commits that only refresh keys
	priorities
)

// Input is something that happened: one of the types below.
type Input interface{ isInput() }

// Connected says that the server accepted us as Session (ServerSync). It
// forgets everything of an earlier connection and starts probing. Session 0 is
// no session of a Mumble server and means Disconnected.
type Connected struct{ Session uint32 }

// Limits is what the server allows in text (ServerConfig); 0 is no limit.
// Lengths are in UTF-16 units. Before it came, Murmur's defaults hold.
type Limits struct {
	AllowHTML          bool
	MessageLength      uint32
	ImageMessageLength uint32
}

// PluginData is a PluginDataTransmission from the server. Those for which
// IsOurs is false are ignored. Data is not kept.
type PluginData struct {
	From uint32
	ID   string
	Data []byte
}

// Text is a private text message from the server. Those for which IsText is
// false are ignored.
type Text struct {
	From    uint32
	Message string
}

// Spent says that the local Mumble client itself sent this many messages that
// the server counts as text: TextMessage, UserState, ChannelState, ACL, Version.
type Spent struct{ Texts int }

// SpentPlugin says that the local Mumble client itself sent N plugin messages.
type SpentPlugin struct{ N int }

// Send asks to carry an object to sessions: one object for all of them, however
// many, costs no more than for one. Exactly one Delivered or Failed with its
// Token follows. Our own session, 0 and doubles in To mean nothing.
// To and the object's body must not be changed afterwards.
type Send struct {
	Token    uint64
	Object   envelope.Object
	To       []uint32
	Priority Priority
}

// Cancel says that nobody wants the Send with this Token any more. What has not
// left stays, and unless it is done already it ends with Failed and
// ErrCanceled; what has left may still arrive.
type Cancel struct{ Token uint64 }

// Members says which sessions are members of our groups, all of them. They get
// more room for objects of many parts than strangers (Sotto protocol §12). It
// means nothing else: who is a member is the engine's to prove.
type Members struct{ Sessions []uint32 }

// Solicit says that the engine waits for an object: the body of a Ref, a
// Welcome after our Hello, a KeyPackage it asked for. For ten seconds such an
// object may be larger than its sender could otherwise send, up to 512 KiB; two
// of them at once. Asking again renews it.
type Solicit struct {
	From uint32 // 0 for anybody
	Kind envelope.Kind
	Ref  envelope.Ref // zero for any of the kind
}

// Fenced says that the server has answered the latest Fence: what it had to say to
// our messages before that has arrived.
type Fenced struct{}

// Disconnected says that the connection is gone. All that waits fails.
type Disconnected struct{}

// Tick says that nothing happened but that time passed; due when Deadline is reached.
type Tick struct{}

func (Connected) isInput()    {}
func (Limits) isInput()       {}
func (PluginData) isInput()   {}
func (Text) isInput()         {}
func (Spent) isInput()        {}
func (SpentPlugin) isInput()  {}
func (Send) isInput()         {}
func (Cancel) isInput()       {}
func (Members) isInput()      {}
func (Solicit) isInput()      {}
func (Fenced) isInput()       {}
func (Disconnected) isInput() {}
func (Tick) isInput()         {}

// Output is something to do or to know: one of the types below. Outputs stand
// in the carrier's order: an ordered Delivered stands among the ordered Received
// exactly where the server put the part that completed our object.
type Output interface{ isOutput() }

// PluginOut is a PluginDataTransmission to send, with envelope.DataID. Our own
// session is among To. Neither slice may be changed.
type PluginOut struct {
	To   []uint32
	Data []byte
}

// TextOut is a private TextMessage to send to the sessions To, which may not
// be changed. In regime T, and with a Probe, our own session is among them. Token is
// that of the Send whose object it carries, 0 for a Probe.
type TextOut struct {
	Token   uint64
	To      []uint32
	Message string
}

// Fence asks to send the server something at once that it answers in its turn on the
// same connection, behind what it sends for the messages before: a TCP ping. Fenced
// is for the answer to the latest one. Who cannot do that does nothing.
type Fence struct{}

// RegimeChanged says what the server turned out to be; RegimeUnknown says that
// this is no longer known.
type RegimeChanged struct{ Regime Regime }

// Received is an object somebody else sent. From is the server's word for who.
type Received struct {
	From   uint32
	Object envelope.Object
	// Ordered says that its point among the ordered outputs is the same for
	// everybody on an honest server. What came as bulk has none, nor anything in
	// regime N.
	Ordered bool
}

// Delivered says that a Send is done. If it was ordered, all its parts came
// back: the server passed the object on at this point of the order. Else it was
// handed to the connection, and no more is known.
type Delivered struct {
	Token   uint64
	Ordered bool
}

// Failed says that a Send will not be carried: Reason is ErrNoEcho,
// ErrQueueFull, ErrNoReceiver, ErrDisconnected, ErrEmpty, ErrCanceled or a
// *TooLongError.
type Failed struct {
	Token  uint64
	Reason error
}

func (PluginOut) isOutput()     {}
func (TextOut) isOutput()       {}
func (Fence) isOutput()         {}
func (RegimeChanged) isOutput() {}
func (Received) isOutput()      {}
func (Delivered) isOutput()     {}
func (Failed) isOutput()        {}

var (
	// ErrNoEcho means that the server never sent our message back, though it
	// was sent four times: nobody may rely on it, the carrier failed.
	ErrNoEcho = errors.New("carrier: no echo from the server")
	// ErrQueueFull means that too much waits; the oldest of the lowest priority gives way.
	ErrQueueFull = errors.New("carrier: too much waits to be sent")
	// ErrNoReceiver means that a Send names nobody but ourselves.
	ErrNoReceiver = errors.New("carrier: no receiver")
	// ErrDisconnected means that there is no connection, or that it ended first.
	ErrDisconnected = errors.New("carrier: not connected")
	// ErrEmpty means that an object has no body.
	ErrEmpty = errors.New("carrier: object without body")
	// ErrCanceled means that a Cancel came before the end.
	ErrCanceled = errors.New("carrier: no longer wanted")
	// ErrTooLong is what every *TooLongError is.
	ErrTooLong = errors.New("carrier: object too long")
)

// TooLongError says that no way of the regime takes an object that long. It is
// an ErrTooLong.
type TooLongError struct {
	Regime Regime
	Size   int // bytes of the body
	Max    int // bytes that would have fitted
}

// Error gives both sizes in bytes.
func (e *TooLongError) Error() string {
	return fmt.Sprintf("%v: %d bytes, regime %v takes %d", ErrTooLong, e.Size, e.Regime, e.Max)
}

// Unwrap returns ErrTooLong.
func (e *TooLongError) Unwrap() error { return ErrTooLong }
