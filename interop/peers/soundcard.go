package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// soundcard is a PulseAudio daemon with two null sinks: "out", where the client
// plays, and "micsink", whose monitor is the client's microphone.
type soundcard struct {
	t   testing.TB
	env []string
}

// pulseSocket is the daemon's socket in the client's home.
const pulseSocket = "pulse.sock"

// pulseConf is the daemon's whole configuration. Nothing suspends an idle sink:
// a sink that sleeps records no silence.
const pulseConf = `load-module module-native-protocol-unix auth-anonymous=1 socket=%s
load-module module-null-sink sink_name=out rate=48000 channels=1 format=s16le
load-module module-null-sink sink_name=micsink rate=48000 channels=1 format=s16le
set-default-sink out
set-default-source micsink.monitor
`

func newSoundcard(t testing.TB, home string, env []string) *soundcard {
	t.Helper()
	socket := filepath.Join(home, pulseSocket)
	conf := filepath.Join(home, "pulse.pa")
	if err := os.WriteFile(conf, fmt.Appendf(nil, pulseConf, socket), 0o600); err != nil {
		t.Fatalf("peers: %v", err)
	}
	cmd := exec.Command(Tool(t, "pulseaudio"), "-n", "-F", conf, "--exit-idle-time=-1", "--daemonize=no",
		"--use-pid-file=no", "--realtime=no", "--high-priority=no", "--log-target=stderr")
	cmd.Env = env
	p, err := startProcess(t, "pulseaudio", cmd)
	if err != nil {
		t.Fatal(err)
	}
	s := &soundcard{t: t, env: append(append([]string{}, env...), "PULSE_SERVER=unix:"+socket)}
	if !until(20*time.Second, func() bool {
		_, err := os.Stat(socket)
		if err != nil || !p.alive() {
			return !p.alive()
		}
		_, err = try(t, s.env, "pactl", "info")
		return err == nil
	}) || !p.alive() {
		t.Fatalf("peers: PulseAudio does not answer:\n%s", p.out)
	}
	return s
}

// Recording is a running recording of what a client plays. Stop ends it.
type Recording struct {
	p *process
	w *collector
}

// record begins to record a source.
func (s *soundcard) record(source string) *Recording {
	s.t.Helper()
	w := &collector{limit: 2 * SampleRate * 600}
	cmd := exec.Command(Tool(s.t, "parec"), "-d", source, "--raw", "--format=s16le",
		"--rate="+strconv.Itoa(SampleRate), "--channels=1", "--latency-msec=20")
	cmd.Env = s.env
	p, err := startPiped(s.t, "parec", cmd, w)
	if err != nil {
		s.t.Fatal(err)
	}
	// The first samples prove that the stream is open.
	if !until(10*time.Second, func() bool { return w.len() > 0 || !p.alive() }) || !p.alive() {
		s.t.Fatalf("peers: parec records nothing: %s", p.out)
	}
	return &Recording{p, w}
}

// Len is how much has been recorded.
func (r *Recording) Len() time.Duration {
	return time.Duration(r.w.len()/2) * time.Second / SampleRate
}

// Sound is what has been recorded so far, at most ten minutes.
func (r *Recording) Sound() Sound { return fromPCM(r.w.bytes()) }

// Stop ends the recording and returns it.
func (r *Recording) Stop() Sound {
	r.p.stop()
	return r.Sound()
}

// play plays a WAV file into a sink and returns when it has been played.
func (s *soundcard) play(sink, wav string) error {
	_, err := try(s.t, s.env, "paplay", "-d", sink, wav)
	return err
}

// collector is an io.Writer that keeps the first limit bytes. It is safe for
// concurrent use.
type collector struct {
	mu    sync.Mutex
	limit int
	buf   []byte
}

func (c *collector) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = append(c.buf, b[:min(len(b), c.limit-len(c.buf))]...)
	return len(b), nil
}

func (c *collector) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.buf)
}

func (c *collector) bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]byte(nil), c.buf...)
}
