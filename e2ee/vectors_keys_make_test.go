package e2ee_test

import (
	"bytes"
	"encoding/binary"

	"github.com/sotto-voip/sotto/internal/vectors"
)

var (
	vectorGroup  = bytes.Repeat([]byte{0xC1}, 16)
	vectorDirect = bytes.Repeat([]byte{0xD2}, 16)
	vectorOther  = bytes.Repeat([]byte{0xE3}, 16)
)

func makeKeys() keysFile {
	f := keysFile{About: []string{
		"Keys of group voice: Sotto protocol, sections 7.1 and 7.2, in either suite, whose hash is SHA-256.",
		"exporter: value is, or is not, the MLS-Exporter of 32 bytes (RFC 9420, 8.5) of this exporter_secret: base_key of a leaf, context_key, code_key.",
		"steps: base keys of a leaf, steps 0 to 20. The first is the value of exporter for that leaf.",
		"keys: kid is that of epoch and step in the short or long form; sframe is, or is not, the SFrame ciphertext (RFC 9605, suite 0x0004) with the key and salt that base_key, which is that of the step, gives for kid.",
	}}
	exporter := bytes.Repeat([]byte{0xE1}, 32)
	for _, c := range []struct {
		case_   vectors.Case
		label   string
		context []byte
		value   []byte
	}{
		{vectors.Good("base key of leaf 0"), "sotto/1 media", u32(0), refExporter(exporter, "sotto/1 media", u32(0), 32)},
		{vectors.Good("base key of leaf 1"), "sotto/1 media", u32(1), refExporter(exporter, "sotto/1 media", u32(1), 32)},
		{vectors.Good("base key of leaf 127"), "sotto/1 media", u32(127), refExporter(exporter, "sotto/1 media", u32(127), 32)},
		{vectors.Good("context key"), "sotto/1 context", nil, refExporter(exporter, "sotto/1 context", nil, 32)},
		{vectors.Good("code key"), "sotto/1 code", nil, refExporter(exporter, "sotto/1 code", nil, 32)},
		{vectors.Bad("the leaf is in 8 bytes"), "sotto/1 media", u32(1), refExporter(exporter, "sotto/1 media", u64(1), 32)},
		{vectors.Bad("the leaf is little-endian"), "sotto/1 media", u32(1), refExporter(exporter, "sotto/1 media", binary.LittleEndian.AppendUint32(nil, 1), 32)},
		{vectors.Bad("of another leaf"), "sotto/1 media", u32(1), refExporter(exporter, "sotto/1 media", u32(2), 32)},
		{vectors.Bad("of another label"), "sotto/1 context", nil, refExporter(exporter, "sotto/1 code", nil, 32)},
		{vectors.Bad("without the label of MLS"), "sotto/1 code", nil, refExpand(exporter, 32, []byte("sotto/1 code"))},
		{vectors.Bad("of another exporter_secret"), "sotto/1 code", nil, refExporter(bytes.Repeat([]byte{0xE2}, 32), "sotto/1 code", nil, 32)},
	} {
		f.Exporter = append(f.Exporter, exporterVector{c.case_, exporter, c.label, c.context, c.value})
	}
	base := refExporter(exporter, "sotto/1 media", u32(1), 32)
	for _, leaf := range []uint32{0, 1} {
		f.Steps = append(f.Steps, stepsVector{leaf, refSteps(refExporter(exporter, "sotto/1 media", u32(leaf), 32), 20)})
	}

	key := func(c vectors.Case, x refFrame, shownStep int, meta []byte, change func([]byte) []byte) {
		x.group, x.base, x.leaf, x.plain = vectorGroup, base, 1, refPlain(0, []byte("opus"), nil, 16)
		frame := x.seal()
		if change != nil {
			frame = change(frame)
		}
		if meta == nil {
			meta = x.metadata()
		}
		f.Keys = append(f.Keys, sframeVector{c, refSteps(base, shownStep)[shownStep], vectorGroup, x.epoch, uint64(x.step), x.long,
			refNumber(x.id()), x.ctr, meta, x.plain, frame})
	}
	for _, x := range []refFrame{
		{epoch: 0, step: 0}, {epoch: 0, step: 7, ctr: 7}, {epoch: 0, step: 8, ctr: 8}, {epoch: 5, step: 3, ctr: 255},
		{epoch: 15, step: 15, ctr: 256}, {epoch: 16, step: 16, ctr: 1<<14 - 1}, {epoch: 255, step: 20, ctr: 1 << 14},
	} {
		for _, x.long = range []bool{false, true} {
			form := map[bool]string{false: "short", true: "long"}[x.long]
			key(vectors.Good("%s, epoch %d, step %d, CTR %d", form, x.epoch, x.step, x.ctr), x, x.step, nil, nil)
		}
	}
	x := refFrame{group: vectorGroup, epoch: 5, step: 3, ctr: 300}
	long := x
	long.long = true
	key(vectors.Bad("the base key is that of the step before"), x, 2, nil, nil)
	key(vectors.Bad("the base key is that of the step behind"), x, 4, nil, nil)
	key(vectors.Bad("sealed under the key of the long KID"), x, 3, nil, func([]byte) []byte {
		y := long
		y.group, y.base, y.leaf, y.plain = vectorGroup, base, 1, refPlain(0, []byte("opus"), nil, 16)
		sealed := y.seal()
		return join(refHeader(x.id(), 300), sealed[len(refHeader(long.id(), 300)):])
	})
	key(vectors.Bad("a byte of the metadata changed"), x, 3, join([]byte("sotto/1 Voice"), u32(0)), nil)
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 1
			return b
		}
	}
	key(vectors.Bad("a bit of the KID changed"), x, 3, nil, flip(1))
	key(vectors.Bad("a bit of the CTR changed"), x, 3, nil, flip(3))
	key(vectors.Bad("the first byte of ciphertext changed"), x, 3, nil, flip(4))
	key(vectors.Bad("the last byte of the tag changed"), x, 3, nil, flip(-1))
	key(vectors.Bad("the first byte of the tag changed"), x, 3, nil, flip(-16))
	key(vectors.Bad("a byte short"), x, 3, nil, func(b []byte) []byte { return b[:len(b)-1] })
	key(vectors.Bad("a byte more"), x, 3, nil, func(b []byte) []byte { return append(b, 0) })
	key(vectors.Bad("a tag of 8 bytes"), x, 3, nil, func(b []byte) []byte { return b[:len(b)-8] })
	key(vectors.Bad("nothing but a header"), x, 3, nil, func(b []byte) []byte { return b[:4] })
	key(vectors.Bad("nothing"), x, 3, nil, func(b []byte) []byte { return nil })
	key(vectors.Bad("the CTR in a byte more than it needs"), x, 3, nil, func(b []byte) []byte {
		return join([]byte{b[0] + 1, b[1], 0}, b[2:])
	})
	for _, more := range []struct {
		why      string
		kid, ctr int
	}{{"the CTR in a byte more than it needs, which is authenticated", 0, 1}, {"the KID in a byte more than it needs, which is authenticated", 1, 0}} {
		y := x
		y.kidMore, y.ctrMore = more.kid, more.ctr
		key(vectors.Bad("%s", more.why), y, 3, nil, nil)
	}
	return f
}
