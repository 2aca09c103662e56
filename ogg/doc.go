// Package ogg reads and writes Ogg Opus streams, packet by packet: the pages of
// RFC 3533 and the headers of RFC 7845. It moves whole Opus packets and neither
// decodes nor changes them.
//
//	page     "OggS" | version 0 | flags | granule position (8) | serial (4) |
//	         sequence (4) | CRC (4) | segments n | n lacing values | body
//	flags    1 continued packet, 2 beginning of stream (BOS), 4 end of stream (EOS)
//
// Numbers are little-endian. A packet is a run of lacing values of 255 ended by
// a smaller one; it may go on over pages.
//
//	stream   page: OpusHead (BOS) | page(s): OpusTags | pages: Opus packets ... EOS
//
// The granule position of a page is the number of samples, always counted at
// 48 kHz and with the pre-skip, up to the end of the last packet that ends on
// it; -1 if none does.
//
// Not done: seeking, skipping damage in a file, several streams at once, putting
// multistream packets together.
package ogg
