package audience_test

import (
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
	Held    string        `json:"held,omitempty"` // a Welcome that was joined before
	Welcome vectors.Hex   `json:"welcome"`
	Epoch   uint64        `json:"epoch,omitempty"`
}

type commitVector struct {
	vectors.Case
	Clause  int         `json:"clause,omitempty"`
	Welcome string      `json:"welcome"`
	From    uint32      `json:"from"`
	Commit  vectors.Hex `json:"commit"`
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
	t *testing.T
	f commitFile
	m *audience.Machine
	e map[envelope.GroupID]uint64 // the epochs that it is in
}

func (j *joiner) welcome(w welcomeVector) (joined bool) {
	i := slices.IndexFunc(j.f.Offers, func(o offerVector) bool { return o.Name == w.Offer })
	if i < 0 {
		j.t.Fatalf("%s: no offer %s", w.Why, w.Offer)
	}
	o := j.f.Offers[i]
	var direct envelope.GroupID
	copy(direct[:], o.ForGroup)
	j.m.Offer(vectorNow, o.own(j.t), direct)
	n := len(j.e)
	j.take(1, envelope.KindWelcome, w.Welcome)
	return len(j.e) > n
}

// take brings an object from a session and looks at what begins.
func (j *joiner) take(from uint32, kind envelope.Kind, body []byte) {
	j.m.Handle(vectorNow.Add(time.Second), audience.Received{From: from, Object: envelope.Object{Kind: kind, Body: body}})
	for out, ok := j.m.Next(); ok; out, ok = j.m.Next() {
		if out, ok := out.(audience.EpochBegan); ok {
			j.e[out.Group] = out.Epoch
		}
	}
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
	return &joiner{t, f, vectorMachine(t, secrets, 1, 5, 90), map[envelope.GroupID]uint64{}}
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
		}
	}
	clauses := map[int]int{}
	for _, c := range f.Commits {
		w := f.named(t, c.Welcome)
		j := newJoiner(t, f, w)
		if !j.welcome(w) {
			t.Errorf("%s: %s is not joined", c.Why, c.Welcome)
			continue
		}
		var id envelope.GroupID
		for id = range j.e {
		}
		j.take(c.From, envelope.KindMLSMessage, c.Commit)
		if taken := j.e[id] == w.Epoch+1; taken != c.Valid || !taken && (j.e[id] != w.Epoch || j.m.Stats().Invalid != 1) {
			t.Errorf("Commit, %s: epoch %d after %d; %+v", c.Why, j.e[id], w.Epoch, j.m.Stats())
		}
		if !c.Valid {
			clauses[c.Clause]++
		}
	}
	t.Logf("invalid Commits by clause of §2.5: %v", clauses)
}
