package peers

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// StockKind is which desktop client to start.
type StockKind uint8

// The clients of the two Debian releases people run.
const (
	Mumble134 StockKind = iota // mumble 1.3.4, Debian 12
	Mumble15                   // mumble 1.5.735, Debian 13
)

// StockKinds lists all of them, for tests that go through each.
var StockKinds = []StockKind{Mumble134, Mumble15}

func (k StockKind) String() string {
	switch k {
	case Mumble134:
		return "mumble-1.3.4"
	case Mumble15:
		return "mumble-1.5"
	}
	return "mumble-unknown-" + strconv.Itoa(int(k))
}

// root is the tree the client lives in, "" for this machine's own.
func (k StockKind) root(t testing.TB) string {
	t.Helper()
	switch k {
	case Mumble134:
		Tool(t, "mumble")
		return ""
	case Mumble15:
		tree := filepath.Join(cacheDir(), "trixie")
		if _, err := os.Stat(filepath.Join(tree, "usr/bin/mumble")); err != nil {
			Missing(t, "the Debian 13 tree with mumble 1.5")
		}
		if os.Getuid() != 0 && !mayEnter(tree) {
			Missing(t, "the right to enter the Debian 13 tree (root, or user namespaces)")
		}
		return tree
	}
	t.Fatalf("peers: no such client: %v", k)
	return ""
}

// command is the client with arguments, ready to start. The screen of a client in
// a tree is reached by its abstract socket, which no chroot hides.
func (k StockKind) command(t testing.TB, root string, args ...string) *exec.Cmd {
	t.Helper()
	if root == "" {
		return exec.Command(Tool(t, "mumble"), args...)
	}
	cmd := exec.Command("/usr/bin/mumble", args...)
	if os.Getuid() == 0 {
		confine(cmd, root, 0, 0)
	} else {
		enter(cmd, root)
	}
	cmd.Dir = "/"
	return cmd
}

// settings are the client's settings file and its name below XDG_CONFIG_HOMEIG_HOME.
func (k StockKind) settings(opts StockOptions) (name string, text []byte) {
	if k == Mumble134 {
		return "Mumble/Mumble.conf", settings134(opts)
	}
	return "Mumble/Mumble/mumble_settings.json", settings15(opts)
}

// stockConf is the settings file of 1.3.4. lastupdate skips the audio wizard
// (src/mumble/main.cpp of 1.3.4); usage and the checks would ask or phone home.
const stockConf = `[General]
lastupdate=2

[audio]
input=PulseAudio
output=PulseAudio
transmit=%d
vadmin=0.01
vadmax=0.02
noisesupress=0
denoise=false

[net]
tcponly=%t

[tts]
enable=false

[ui]
usage=false
updatecheck=false
plugincheck=false
askonquit=false
`

// settings134 fills in stockConf.
func settings134(opts StockOptions) []byte {
	transmit := 1 // voice activation
	if opts.Continuous {
		transmit = 0
	}
	text := fmt.Appendf(nil, stockConf, transmit, opts.TCPOnly)
	if opts.Whisper != 0 {
		text = append(text, shortcuts134(opts.Whisper)...)
	}
	// Every kind of message to the log view and nowhere else (flag 1): the
	// client's own chimes would spoil a measured silence. The settings file is
	// indexed from 1, the kinds from 0 (src/mumble/Log.h has 25 to 40 of them).
	text = append(text, "\n[messages]\n"...)
	for i := range 60 {
		text = fmt.Appendf(text, "%d\\log=1\n", i+1)
	}
	return append(text, "size=60\n"...)
}

// settings15 is the same for 1.5: a sound card without processing of its own, no
// chimes (their volume is nothing), no questions. A name the client does not know
// in an enumeration ends it at once. Debian builds it without the check for
// updates. (src/mumble/SettingsKeys.h, EnumStringConversions.cpp of v1.5.735)
func settings15(opts StockOptions) []byte {
	transmit := "VAD"
	if opts.Continuous {
		transmit = "Continuous"
	}
	type group = map[string]any
	settings := group{
		"settings_version":         1,
		"mumble_has_quit_normally": true,
		"audio": group{
			"input_system": "PulseAudio", "output_system": "PulseAudio", "transmit_mode": transmit,
			"vad_min": 0.01, "vad_max": 0.02, "noise_cancel_mode": "Off", "echo_cancel_mode": "Disabled",
			"notification_volume": 0, "cue_volume": 0, "play_mute_cue": false, "mute_cue_popup_shown": true,
		},
		"network": group{"restrict_to_tcp": opts.TCPOnly},
		"tts":     group{"enable_tts": false},
		"ui": group{
			"quit_behavior": "AlwaysQuit", "send_usage_statistics": false, "disable_public_server_list": true,
		},
		"misc": group{"audio_wizard_has_been_shown": true, "viewed_server_ping_consent_message": true},
	}
	if opts.Whisper != 0 {
		settings["shortcuts"] = shortcuts15(opts.Whisper)
	}
	text, err := json.Marshal(settings)
	if err != nil {
		panic(err) // constants
	}
	return text
}
