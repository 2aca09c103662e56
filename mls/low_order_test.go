package mls

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"testing"
)

// littleEndian is x as a field element of 2^255-19 is written.
func littleEndian(x *big.Int) []byte {
	b := x.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return b
}

func field(offset int64) *big.Int {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	return p.Add(p, big.NewInt(offset))
}

// lowOrderX25519 lists the points that turn every X25519 secret into zero.
func lowOrderX25519(t testing.TB) [][]byte {
	t.Helper()
	list := [][]byte{make([]byte, 32), littleEndian(big.NewInt(1)), littleEndian(field(-1)), littleEndian(field(0)), littleEndian(field(1))}
	for _, s := range []string{
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	for _, k := range list[:len(list):len(list)] {
		k = slices.Clone(k)
		k[31] |= 0x80 // which X25519 ignores
		list = append(list, k)
	}
	return list
}

// TestLowOrderEncryptionKeys: nobody can encrypt to such a key, so a leaf or path
// with one would stop all Commits of others.
func TestLowOrderEncryptionKeys(t *testing.T) {
	for _, cs := range []CipherSuite{X25519AES128GCM, MLKEM768X25519AES128GCM} {
		s, err := cs.suite()
		if err != nil {
			t.Fatal(err)
		}
		_, good, err := s.hpke.generate()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.hpke.check(good); err != nil {
			t.Fatal(err)
		}
		for _, point := range lowOrderX25519(t) {
			k, err := ecdh.X25519().NewPublicKey(point)
			if err != nil {
				t.Fatal(err)
			}
			own, err := ecdh.X25519().GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := own.ECDH(k); err == nil {
				t.Errorf("%x is no point of low order", point)
			}
			bad := append(slices.Clone(good[:len(good)-32]), point...)
			if err := s.hpke.check(bad); err == nil {
				t.Errorf("%s: %x is accepted", s.name, point)
			}
		}
	}

	g := testGroup(t, X25519AES128GCM, 4)
	low := littleEndian(field(-1))
	kp := testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "eve"))
	leaf := *kp.KeyPackage.LeafNode
	leaf.EncryptionKey = low
	if err := leaf.sign(g[0].suite, kp.signer, nil, 0); err != nil {
		t.Fatal(err)
	}
	kp.KeyPackage.LeafNode = &leaf
	var err error
	if kp.KeyPackage.Signature, err = g[0].suite.signWithLabel(kp.signer, "KeyPackageTBS", kp.KeyPackage.appendUnsigned(nil)); err != nil {
		t.Fatal(err)
	}
	h := hostile{Group: g[3], list: []CommittedProposal{{Proposal: Add{kp.KeyPackage}}}, noPath: true}
	refuse(t, g[0], h.commit(t), ErrLeafNode)
	h = hostile{Group: g[3], path: func(p *UpdatePath) { p.Nodes[0].EncryptionKey = low }}
	refuse(t, g[0], h.commit(t), ErrUpdatePath)
}

// TestSmallOrderSignatureKeys: what such a key signs, anybody can sign.
func TestSmallOrderSignatureKeys(t *testing.T) {
	points := [][]byte{make([]byte, 32), littleEndian(big.NewInt(1)), littleEndian(field(-1))}
	for _, s := range []string{
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		points = append(points, b)
	}
	for _, p := range points {
		// With S = 0 a signature holds if R = -kA, and k is one of eight.
		forged := append(littleEndian(big.NewInt(1)), make([]byte, 32)...)
		holds := false
		var message []byte
		for i := range 200 {
			message = []byte{byte(i)}
			if holds = ed25519.Verify(p, message, forged); holds {
				break
			}
		}
		if !holds {
			t.Errorf("%x is not of small order", p)
		}
		for _, sign := range []byte{0, 0x80} {
			k := slices.Clone(p)
			k[31] |= sign
			if err := (ed25519Scheme{}).check(k); err == nil {
				t.Errorf("%x is accepted", k)
			}
			if (ed25519Scheme{}).verify(k, message, forged) {
				t.Errorf("%x verifies what nobody signed", k)
			}
		}
	}
	// RFC 8032 §5.1.3: "If the resulting value is >= p, decoding fails".
	for offset := range int64(19) {
		if err := (ed25519Scheme{}).check(littleEndian(field(offset))); err == nil {
			t.Errorf("y = p+%d is accepted", offset)
		}
	}
	if err := (ed25519Scheme{}).check(littleEndian(field(-2))); err != nil {
		t.Error(err)
	}
	kp := testKeyPackage(t, X25519AES128GCM, testProfile(t, X25519AES128GCM, "eve")).KeyPackage
	kp.LeafNode.SignatureKey = points[1]
	if _, err := kp.Verify(hostileConfig(), atTime); !errors.Is(err, ErrKeyPackage) {
		t.Errorf("KeyPackage with a signature key of small order: %v", err)
	}
}
