package mls

import (
	"fmt"
	"math/bits"
	"runtime"
	"testing"
	"time"
)

var benchSuites = map[string]CipherSuite{"classic": X25519AES128GCM, "hybrid": MLKEM768X25519AES128GCM}

// fullGroup makes two members of a group of n, the first and the last, as if
// every member had committed once: no parent node is blank or has unmerged leaves.
func fullGroup(t testing.TB, cs CipherSuite, n int) (first, last *Group) {
	t.Helper()
	s, err := cs.suite()
	if err != nil {
		t.Fatal(err)
	}
	cfg := hostileConfig()
	id := random(16)
	var tr *tree
	signers := make([]*SignaturePrivateKey, n)
	for i := range n {
		p := testProfile(t, cs, fmt.Sprintf("member %27d", i)) // 32 byte names
		signers[i] = p.SignatureKey
		leaf := testKeyPackage(t, cs, p).KeyPackage.LeafNode
		if i == 0 {
			tr = newTree(s, leaf)
		} else {
			tr.add(leaf)
		}
	}
	ends := [2]LeafIndex{0, LeafIndex(n - 1)}
	keys := [2]privateKeys{{}, {}}
	for i := range LeafIndex(n) {
		p, err := tr.renew(i, tr.leaf(i), signers[i], id)
		if err != nil {
			t.Fatal(err)
		}
		for e, own := range ends {
			if own == i {
				keys[e].set(own.node(), p.leafPrivate)
			}
			for k, x := range p.path {
				if x.covers(own.node()) {
					keys[e].set(x, append(secret(nil), p.nodes[k].private...))
				}
			}
		}
	}
	epoch := random(s.nh)
	var g [2]*Group
	for e, own := range ends {
		g[e] = &Group{cfg: cfg, suite: s, tree: tr.clone(), own: own, signer: signers[own], keys: keys[e]}
		g[e].ctx = GroupContext{Version: MLS10, CipherSuite: cs, GroupID: id, Epoch: 7, TreeHash: tr.hash(), ConfirmedTranscriptHash: s.hash()}
		g[e].start(s.fromEpochSecret(append(secret(nil), epoch...)))
	}
	return g[0], g[1]
}

// floors are the primitive operations as they cost here and now.
type floors struct {
	derive, seal, open, sign, verify, aead time.Duration
}

// measure takes the mean, as perOp does: a machine that is busy, or a collector
// that runs, slows both.
func measure(f func()) time.Duration {
	n := 0
	began := cpuTime()
	for cpuTime()-began < 30*time.Millisecond {
		for range 10 {
			f()
		}
		n += 10
	}
	return (cpuTime() - began) / time.Duration(n)
}

// measureFloors takes the size of what is signed.
func measureFloors(b testing.TB, cs CipherSuite, signed int) (f floors) {
	b.Helper()
	s, err := cs.suite()
	if err != nil {
		b.Fatal(err)
	}
	k, err := GenerateSignatureKey(cs)
	if err != nil {
		b.Fatal(err)
	}
	ikm, msg := secret(random(s.nh)), random(signed)
	priv, pub, _ := s.hpke.generate()
	enc, ct, _ := s.hpke.seal(pub, nil, ikm)
	sig, _ := s.sig.sign(k.key, msg)
	key, nonce := secret(random(s.nk)), secret(random(nn))
	f.derive = measure(func() { s.hpke.derive(ikm) })
	f.seal = measure(func() { s.hpke.seal(pub, nil, ikm) })
	f.open = measure(func() { s.hpke.open(priv, nil, enc, ct) })
	f.sign = measure(func() { s.sig.sign(k.key, msg) })
	f.verify = measure(func() { s.sig.verify(k.public, msg, sig) })
	f.aead = measure(func() { s.aeadSeal(key, nonce, nil, msg) })
	return f
}

// perOp runs f b.N times and reports its CPU time, also as a multiple of the floor,
// which is measured before and afterwards. It returns the CPU time of one.
func perOp(b *testing.B, floorNow func() time.Duration, f func()) time.Duration {
	b.Helper()
	floor := floorNow()
	runtime.GC()
	b.ReportAllocs()
	b.ResetTimer()
	began := cpuTime()
	for range b.N {
		f()
	}
	used := cpuTime() - began
	b.StopTimer()
	floor = (floor + floorNow()) / 2
	b.ReportMetric(float64(used)/float64(b.N)/float64(floor), "x-floor")
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(floor.Microseconds()), "floor-us")
	return used / time.Duration(b.N)
}

func benchAll(b *testing.B, sizes []int, f func(b *testing.B, cs CipherSuite, n int)) {
	for _, name := range []string{"classic", "hybrid"} {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/n=%d", name, n), func(b *testing.B) { f(b, benchSuites[name], n) })
		}
	}
}

var benchSizes = []int{2, 10, 100, 1000}

// welcomeFor returns a Welcome by which one joins a full group of n.
func welcomeFor(b testing.TB, cs CipherSuite, n int) (*Welcome, *OwnKeyPackage, *Config) {
	g, _ := fullGroup(b, cs, max(n-1, 1))
	own := testKeyPackage(b, cs, testProfile(b, cs, "joiner"))
	c, err := g.Commit(CommitOptions{Proposals: []Proposal{Add{own.KeyPackage}}, Path: PathIfRequired}, atTime)
	if err != nil {
		b.Fatal(err)
	}
	return c.Welcomes()[0], own, g.cfg
}

// verifyLeaves measures the signature check of a leaf, over all leaves in turn: a
// thousand of them do not stay in a cache.
func verifyLeaves(b testing.TB, g *Group) time.Duration {
	b.Helper()
	var checks []func() bool
	for i, l := range g.tree.members() {
		fields, place := l.tbs(g.ctx.GroupID, i)
		message := labelled(nil, "LeafNodeTBS", fields, place)
		checks = append(checks, func() bool { return g.suite.sig.verify(l.SignatureKey, message, l.Signature) })
	}
	next := 0
	return measure(func() {
		if !checks[next%len(checks)]() {
			b.Error("a leaf with a wrong signature")
		}
		next++
	})
}

// BenchmarkJoin: the floor is one open and n verifications.
func BenchmarkJoin(b *testing.B) {
	benchAll(b, benchSizes, func(b *testing.B, cs CipherSuite, n int) {
		w, own, cfg := welcomeFor(b, cs, n)
		joined, err := Join(cfg, w, own, JoinOptions{}, atTime)
		if err != nil {
			b.Fatal(err)
		}
		perOp(b, func() time.Duration {
			return measureFloors(b, cs, 300).open + time.Duration(n)*verifyLeaves(b, joined)
		}, func() {
			if _, err := Join(cfg, w, own, JoinOptions{}, atTime); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// BenchmarkCommit: with a path in a full tree; the floor is log2 n times derive
// and seal, and a signature. It leaves out what each path needs besides, the key
// pair of the new leaf and the signature of it, with which x-floor-leaf reckons.
func BenchmarkCommit(b *testing.B) {
	benchAll(b, benchSizes, func(b *testing.B, cs CipherSuite, n int) {
		g, _ := fullGroup(b, cs, n)
		var f floors
		floor := func() time.Duration {
			f = measureFloors(b, cs, 300)
			return time.Duration(bits.Len(uint(n-1)))*(f.derive+f.seal) + f.sign
		}
		used := perOp(b, floor, func() {
			if _, err := g.Commit(CommitOptions{}, atTime); err != nil {
				b.Fatal(err)
			}
		})
		b.ReportMetric(float64(used)/float64(floor()+f.derive+f.sign), "x-floor-leaf")
	})
}

// BenchmarkProcess: reading that Commit at the other end of the tree; the floor
// is one open, the derivation of the root's key and two verifications.
func BenchmarkProcess(b *testing.B) {
	benchAll(b, benchSizes, func(b *testing.B, cs CipherSuite, n int) {
		g, other := fullGroup(b, cs, n)
		c, err := g.Commit(CommitOptions{}, atTime)
		if err != nil {
			b.Fatal(err)
		}
		perOp(b, func() time.Duration {
			f := measureFloors(b, cs, 300)
			return f.open + f.derive + 2*f.verify
		}, func() {
			if _, err := other.Read(c.Message(), atTime); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// BenchmarkProtect: the floor is a signature and an AEAD.
func BenchmarkProtect(b *testing.B) {
	benchAll(b, []int{2, 1000}, func(b *testing.B, cs CipherSuite, n int) {
		g, _ := fullGroup(b, cs, n)
		data := make([]byte, 300)
		perOp(b, func() time.Duration {
			f := measureFloors(b, cs, 300)
			return f.sign + f.aead
		}, func() {
			if _, err := g.Protect(data, nil); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// BenchmarkOpen: the floor is an AEAD and a verification.
func BenchmarkOpen(b *testing.B) {
	benchAll(b, []int{2, 1000}, func(b *testing.B, cs CipherSuite, n int) {
		g, other := fullGroup(b, cs, n)
		sent := make([]*Message, b.N)
		for i := range sent {
			var err error
			if sent[i], err = g.Protect(make([]byte, 300), nil); err != nil {
				b.Fatal(err)
			}
		}
		i := 0
		perOp(b, func() time.Duration {
			f := measureFloors(b, cs, 300)
			return f.verify + f.aead
		}, func() {
			if _, err := other.Read(sent[i], atTime); err != nil {
				b.Fatal(err)
			}
			i++
		})
	})
}

// BenchmarkMemory reports what a joined group holds.
func BenchmarkMemory(b *testing.B) {
	benchAll(b, benchSizes, func(b *testing.B, cs CipherSuite, n int) {
		w, own, cfg := welcomeFor(b, cs, n)
		var before, after runtime.MemStats
		groups := make([]*Group, 10)
		runtime.GC()
		runtime.GC() // what the first one only finalized
		runtime.ReadMemStats(&before)
		for i := range groups {
			var err error
			if groups[i], err = Join(cfg, w, own, JoinOptions{}, atTime); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(groups)), "heap-B/group")
		runtime.KeepAlive(groups)
	})
}

// TestSizes logs the table of sizes in docs/mls.md.
func TestSizes(t *testing.T) {
	if testing.Short() {
		t.Skip("makes groups of 1000")
	}
	for _, name := range []string{"classic", "hybrid"} {
		cs := benchSuites[name]
		kp := testKeyPackage(t, cs, testProfile(t, cs, fmt.Sprintf("member %25d", 0)))
		for _, n := range benchSizes {
			g, _ := fullGroup(t, cs, n)
			size := func(o CommitOptions) (commit, welcome int) {
				c, err := g.Commit(o, atTime)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range c.Welcomes() {
					welcome += len((&Message{Welcome: w}).Marshal())
				}
				return len(c.Message().Marshal()), welcome
			}
			path, _ := size(CommitOptions{})
			add, welcome := size(CommitOptions{Proposals: []Proposal{Add{kp.KeyPackage}}, Path: PathIfRequired})
			_, bare := size(CommitOptions{Proposals: []Proposal{Add{kp.KeyPackage}}, Path: PathIfRequired, Tree: TreeElsewhere})
			state, err := g.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("| %s | %d | %d | %d | %d | %d | %d | %d | %d |", name, n, len(kp.Message().Marshal()), add, path, bare, welcome, len(g.RatchetTree()), len(state))
			if path > 4000+2600*bits.Len(uint(n)) {
				t.Errorf("a Commit of %d bytes for %d members", path, n)
			}
		}
	}
}
