package peers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Ogg Opus in the little that opus-tools need (RFC 3533, RFC 7845). It is
// written apart from the product's ogg package on purpose: each is a check on
// the other.

// demuxOpus returns the audio packets of an Ogg Opus file, without the two
// header packets.
func demuxOpus(b []byte) ([][]byte, error) {
	var packets [][]byte
	var open []byte
	for len(b) > 0 {
		if len(b) < 27 || string(b[:4]) != "OggS" {
			return nil, errors.New("peers: no Ogg page where one should begin")
		}
		n := int(b[26])
		if len(b) < 27+n {
			return nil, errors.New("peers: Ogg page is cut off")
		}
		table, body := b[27:27+n], b[27+n:]
		for _, lace := range table {
			if int(lace) > len(body) {
				return nil, errors.New("peers: Ogg page is cut off")
			}
			open = append(open, body[:lace]...)
			body = body[lace:]
			if lace < 255 {
				packets = append(packets, open)
				open = nil
			}
		}
		b = body
	}
	if len(packets) < 2 || !bytes.HasPrefix(packets[0], []byte("OpusHead")) || !bytes.HasPrefix(packets[1], []byte("OpusTags")) {
		return nil, errors.New("peers: not an Ogg Opus file")
	}
	return packets[2:], nil
}

// muxOpus makes an Ogg Opus file, one packet to a page. samples is the length of
// one packet at 48 kHz. Nothing is skipped at the beginning, so that the decoded
// sound has exactly one packet length per packet.
func muxOpus(packets [][]byte, channels uint8, samples int) ([]byte, error) {
	head := append([]byte("OpusHead"), 1, channels)
	head = binary.LittleEndian.AppendUint16(head, 0)
	head = binary.LittleEndian.AppendUint32(head, SampleRate)
	head = append(head, 0, 0, 0) // gain, mapping family 0
	tags := append([]byte("OpusTags"), 5, 0, 0, 0, 'p', 'e', 'e', 'r', 's', 0, 0, 0, 0)
	out := appendPage(nil, head, 0x02, 0, 0)
	out = appendPage(out, tags, 0, 0, 1)
	for i, p := range packets {
		if len(p) > 255*254 {
			return nil, fmt.Errorf("peers: packet of %d bytes does not fit an Ogg page", len(p))
		}
		flags := byte(0)
		if i == len(packets)-1 {
			flags = 0x04
		}
		out = appendPage(out, p, flags, uint64((i+1)*samples), uint32(i+2))
	}
	return out, nil
}

func appendPage(out, packet []byte, flags byte, granule uint64, seq uint32) []byte {
	start := len(out)
	out = append(out, 'O', 'g', 'g', 'S', 0, flags)
	out = binary.LittleEndian.AppendUint64(out, granule)
	out = binary.LittleEndian.AppendUint32(out, 0x50454552)
	out = binary.LittleEndian.AppendUint32(out, seq)
	out = append(out, 0, 0, 0, 0) // checksum, below
	out = append(out, byte(len(packet)/255+1))
	out = append(out, bytes.Repeat([]byte{255}, len(packet)/255)...)
	out = append(out, byte(len(packet)%255))
	out = append(out, packet...)
	binary.LittleEndian.PutUint32(out[start+22:], oggSum(out[start:]))
	return out
}

// oggSum is the checksum of RFC 3533 §6: CRC-32 with polynomial 0x04c11db7, not
// reflected, beginning with 0.
func oggSum(b []byte) uint32 {
	crc := uint32(0)
	for _, v := range b {
		crc ^= uint32(v) << 24
		for range 8 {
			if crc&(1<<31) != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
