package peers

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// whisperKey is the X key code of the shortcut that StockOptions.Whisper makes: F9,
// which means nothing else to the client.
const whisperKey = 75

// whisperIndex is the client's number of the shortcut "Whisper/Shout", in both
// versions (MainWindow::createActions of 1.3.4, GlobalShortcutTypes.h of 1.5).
const whisperIndex = 12

// HoldWhisper presses the key of StockOptions.Whisper, and keeps it pressed until
// ReleaseWhisper. The client reads the keyboard as a whole (XInput2), whichever
// window has the focus.
func (c *StockClient) HoldWhisper() {
	c.t.Helper()
	c.whisperKey("keydown")
}

// ReleaseWhisper lets go of the key. The client ends the transmission by itself.
func (c *StockClient) ReleaseWhisper() {
	c.t.Helper()
	c.whisperKey("keyup")
}

func (c *StockClient) whisperKey(what string) {
	c.t.Helper()
	if _, err := c.screen.do(what, strconv.Itoa(whisperKey)); err != nil {
		c.t.Fatal(err)
	}
}

// Types of Qt 5 in a QVariant, by their number on the wire.
const (
	qtInt    = 2
	qtList   = 9
	qtUser   = 1024
	qtUser40 = 127 // the same, in a stream of Qt 4.0
)

// shortcuts134 is the section of the settings file of 1.3.4. A value that is no
// plain text is there a QVariant in a stream of Qt 4.0, with all its bytes escaped.
func shortcuts134(channel uint32) []byte {
	keys := qtNumbers(qtList, 1, qtInt, whisperKey)
	data := append(qtNumbers(qtUser40), qtTypeName("ShortcutTarget")...)
	data = append(data, shortcutTarget(channel)...)
	return fmt.Appendf(nil, "\n[shortcuts]\n1\\index=%d\n1\\keys=%s\n1\\suppress=false\n1\\data=%s\nsize=1\n",
		whisperIndex, iniVariant(keys), iniVariant(data))
}

// shortcuts15 is the same for 1.5: QVariants in streams of Qt 5.0, where a byte after
// the type says that the value is there. (src/mumble/JSONSerialization.cpp)
func shortcuts15(channel uint32) map[string]any {
	variant := func(kind uint32, value []byte) string {
		return base64.StdEncoding.EncodeToString(append(append(qtNumbers(kind), 0), value...))
	}
	data := append(qtTypeName("ShortcutTarget"), qtString("v2")...)
	data = append(data, 0) // not what is selected at the time
	data = append(data, shortcutTarget(channel)...)
	return map[string]any{"defined": []map[string]any{{
		"index": whisperIndex, "suppress": false,
		"buttons": []string{variant(qtInt, qtNumbers(whisperKey))}, "data": variant(qtUser, data),
	}}}
}

// shortcutTarget is a channel as the target of a shortcut, after what 1.5 has before
// it. (src/mumble/Settings.cpp, operator<<)
func shortcutTarget(channel uint32) []byte {
	b := []byte{0, 0} // not a list of people; with positional audio
	b = append(b, qtNumbers(channel)...)
	b = append(b, qtString("")...) // whoever is in it
	return append(b, 0, 0)         // without linked channels, without those below
}

// qtNumbers, qtString and qtTypeName are values in a QDataStream.
func qtNumbers(all ...uint32) (b []byte) {
	for _, n := range all {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

func qtString(s string) []byte {
	units := utf16.Encode([]rune(s))
	b := qtNumbers(uint32(2 * len(units)))
	for _, u := range units {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return b
}

func qtTypeName(s string) []byte {
	return append(append(qtNumbers(uint32(len(s)+1)), s...), 0)
}

// iniVariant is a QVariant in an ini file of QSettings.
func iniVariant(stream []byte) string {
	var s strings.Builder
	for _, b := range stream {
		fmt.Fprintf(&s, `\x%x`, b)
	}
	return "@Variant(" + s.String() + ")"
}
