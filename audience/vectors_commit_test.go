package audience_test

import (
	"bytes"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/sotto-voip/sotto/audience"
	"github.com/sotto-voip/sotto/envelope"
	"github.com/sotto-voip/sotto/internal/vectors"
	"github.com/sotto-voip/sotto/mls"
)

const commitVectors = "../docs/spec/vectors/commits.json"

// commitFile is docs/spec/vectors/commits.json: Sotto protocol §13, 5 and 8.
type commitFile struct {
	About    []string        `json:"about"`
	Now      int64           `json:"now"`
	Offers   []offerVector   `json:"offers"`
	Welcomes []welcomeVector `json:"welcomes"`
	Commits  []commitVector  `json:"commits"`
	Messages []messageVector `json:"messages"`
	Beacons  []seqVector     `json:"beacons"`
}

// offerVector is a KeyPackage of the receiver, with its private keys.
type offerVector struct {
	Name       string      `json:"name"`
	ForGroup   vectors.Hex `json:"for_group,omitempty"` // of a direct group that was asked for
	KeyPackage vectors.Hex `json:"key_package"`
	Init       vectors.Hex `json:"init_private"`
	Leaf       vectors.Hex `json:"encryption_private"`
	Signature  vectors.Hex `json:"signature_private"`
}

type welcomeVector struct {
	vectors.Case
	Name    string        `json:"name,omitempty"` // for commits
	Offer   string        `json:"offer"`
	PSK     []vectors.Hex `json:"psk,omitempty"`
	Held    string        `json:"held,omitempty"`  // a Welcome that was joined before
	Asked   bool          `json:"asked,omitempty"` // and it has said Hello since
	From    uint32        `json:"from"`
	Welcome vectors.Hex   `json:"welcome"`
	Epoch   uint64        `json:"epoch,omitempty"`
	begunEpoch
}

type commitVector struct {
	vectors.Case
	Clause  int         `json:"clause,omitempty"`
	Welcome string      `json:"welcome"`
	From    uint32      `json:"from"`
	Commit  vectors.Hex `json:"commit"`
	begunEpoch
}

// messageVector is application data.
type messageVector struct {
	vectors.Case
	Welcome string      `json:"welcome"`
	From    uint32      `json:"from"`
	Message vectors.Hex `json:"message"`
	Data    vectors.Hex `json:"data,omitempty"`
}

// seqVector is one of several Beacons that come one after the other.
type seqVector struct {
	vectors.Case
	From   uint32      `json:"from"`
	Beacon vectors.Hex `json:"beacon"`
}

// begunEpoch is what shows that the keys of an epoch are the right ones.
type begunEpoch struct {
	Authenticator vectors.Hex `json:"epoch_authenticator,omitempty"`
	BaseKey       vectors.Hex `json:"base_key,omitempty"` // of leaf 0
}

func (o offerVector) own(t *testing.T) *mls.OwnKeyPackage {
	t.Helper()
	version, err := who(2, 2).keyPackage(t, audience.SuiteClassic).Marshal() // the form in which package mls stores them
	if err != nil {
		t.Fatal(err)
	}
	own, err := mls.UnmarshalOwnKeyPackage(slices.Concat(version[:1], o.KeyPackage, mlsVec(o.Init), mlsVec(o.Leaf), mlsVec(o.Signature)))
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// joiner plays what a file says up to a Welcome.
type joiner struct {
	t      *testing.T
	f      commitFile
	m      *audience.Machine
	out    map[string]bool // the offers that were put out
	begun  audience.EpochBegan
	epochs int
	said   []audience.Application
}

func (j *joiner) welcome(w welcomeVector) (joined bool) {
	i := slices.IndexFunc(j.f.Offers, func(o offerVector) bool { return o.Name == w.Offer })
	if i < 0 {
		j.t.Fatalf("%s: no offer %s", w.Why, w.Offer)
	}
	o := j.f.Offers[i]
	var direct envelope.GroupID
	copy(direct[:], o.ForGroup)
	if !j.out[o.Name] { // a KeyPackage is for one Welcome
		j.out[o.Name] = true
		j.m.Offer(vectorNow, o.own(j.t), direct)
	}
	if w.Asked {
		j.m.Asked(vectorNow)
	}
	n := j.epochs
	j.take(w.From, envelope.KindWelcome, w.Welcome)
	return j.epochs > n
}

// take brings an object from a session and looks at what comes of it.
func (j *joiner) take(from uint32, kind envelope.Kind, body []byte) {
	j.m.Handle(vectorNow.Add(time.Second), audience.Received{From: from, Object: envelope.Object{Kind: kind, Body: body}})
	for out, ok := j.m.Next(); ok; out, ok = j.m.Next() {
		switch out := out.(type) {
		case audience.EpochBegan:
			j.begun = out
			j.epochs++
		case audience.Application:
			j.said = append(j.said, out)
		}
	}
}

// keys reports whether these are those of the epoch that has begun.
func (j *joiner) keys(e begunEpoch) bool {
	i := slices.IndexFunc(j.begun.Leaves, func(l audience.Leaf) bool { return l.Index == 0 })
	return i >= 0 && bytes.Equal(j.m.Authenticator(j.begun.Group), e.Authenticator) && bytes.Equal(j.begun.Leaves[i].BaseKey[:], e.BaseKey)
}

func (f commitFile) named(t *testing.T, name string) welcomeVector {
	t.Helper()
	i := slices.IndexFunc(f.Welcomes, func(w welcomeVector) bool { return w.Name == name })
	if i < 0 {
		t.Fatalf("no Welcome %s", name)
	}
	return f.Welcomes[i]
}

func newJoiner(t *testing.T, f commitFile, w welcomeVector) *joiner {
	var secrets [][]byte
	for _, s := range w.PSK {
		secrets = append(secrets, s)
	}
	return &joiner{t: t, f: f, m: vectorMachine(t, secrets, 1, 5, 90), out: map[string]bool{}}
}

func TestVectorsCommit(t *testing.T) {
	if *update {
		cryptotest.SetGlobalRandom(t, 8)
		vectors.Write(t, commitVectors, makeCommits(t))
	}
	f := vectors.Read[commitFile](t, commitVectors)
	if f.Now != vectorNow.Unix() {
		t.Fatalf("now is %d", f.Now)
	}
	for _, w := range f.Welcomes {
		j := newJoiner(t, f, w)
		if w.Held != "" && !j.welcome(f.named(t, w.Held)) {
			t.Errorf("%s: %s is not joined", w.Why, w.Held)
		}
		if joined := j.welcome(w); joined != w.Valid {
			t.Errorf("Welcome, %s: joined is %v; %+v", w.Why, joined, j.m.Stats())
		} else if joined && (j.begun.Epoch != w.Epoch || !j.keys(w.begunEpoch)) {
			t.Errorf("Welcome, %s: epoch %d, keys of another", w.Why, j.begun.Epoch)
		}
	}
	behind := func(why, name string) (*joiner, welcomeVector) {
		w := f.named(t, name)
		j := newJoiner(t, f, w)
		if !j.welcome(w) {
			t.Fatalf("%s: %s is not joined", why, name)
		}
		return j, w
	}
	refused := func(j *joiner) bool {
		s := j.m.Stats()
		return s.Invalid+s.Malformed+s.Unknown+s.Attribution+s.Unverified == 1
	}
	clauses := map[int]int{}
	for _, c := range f.Commits {
		j, w := behind(c.Why, c.Welcome)
		j.take(c.From, envelope.KindMLSMessage, c.Commit)
		if taken := j.begun.Epoch == w.Epoch+1; taken != c.Valid || !taken && (j.epochs != 1 || !refused(j)) {
			t.Errorf("Commit, %s: epoch %d after %d; %+v", c.Why, j.begun.Epoch, w.Epoch, j.m.Stats())
		} else if taken && !j.keys(c.begunEpoch) {
			t.Errorf("Commit, %s: keys of another", c.Why)
		}
		if !c.Valid {
			clauses[c.Clause]++
		}
	}
	t.Logf("invalid Commits by clause of §2.5: %v", clauses)
	for _, c := range f.Messages {
		j, _ := behind(c.Why, c.Welcome)
		j.take(c.From, envelope.KindMLSMessage, c.Message)
		if got := len(j.said) == 1; got != c.Valid || !got && !refused(j) {
			t.Errorf("message, %s: %+v; %+v", c.Why, j.said, j.m.Stats())
		} else if got && !bytes.Equal(j.said[0].Data.Append(nil), c.Data) {
			t.Errorf("message, %s: %+v", c.Why, j.said[0].Data)
		}
	}
	j, _ := behind("Beacons", "channel")
	for i, c := range f.Beacons {
		before := j.m.Stats()
		j.m.Handle(vectorNow.Add(time.Duration(2+i)*time.Second), audience.Received{From: c.From, Object: envelope.Object{Kind: envelope.KindBeacon, Body: c.Beacon}})
		if after := j.m.Stats(); (after == before) != c.Valid {
			t.Errorf("Beacon, %s: %+v after %+v", c.Why, after, before)
		}
	}
	if len(f.Messages) == 0 || len(f.Beacons) == 0 {
		t.Error("a list is empty")
	}
}
