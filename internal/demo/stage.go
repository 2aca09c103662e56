package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// stage holds what the demo has started.
type stage struct {
	ctx   context.Context
	dir   string
	sotto string
	out   io.Writer
	procs []*process
}

type process struct {
	cmd    *exec.Cmd
	done   chan error
	events chan event
	stderr bytes.Buffer
}

// event is what the demo reads of a line of --json.
type event struct {
	Event string `json:"event"`
	Port  int    `json:"port"`
}

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 5 * time.Second
)

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// start starts a process whose standard output is events, one per line.
func (s *stage) start(name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), done: make(chan error, 1), events: make(chan event, 64)}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	s.procs = append(s.procs, p)
	go func() {
		in := bufio.NewScanner(out)
		for in.Scan() {
			var e event
			if json.Unmarshal(in.Bytes(), &e) == nil {
				select {
				case p.events <- e:
				default:
				}
			}
		}
		p.done <- p.cmd.Wait()
	}()
	return p, nil
}

// await waits for an event of one kind.
func (s *stage) await(p *process, kind string) (event, error) {
	limit := time.NewTimer(startTimeout)
	defer limit.Stop()
	for {
		select {
		case e := <-p.events:
			if e.Event == kind {
				return e, nil
			}
		case err := <-p.done:
			p.done <- err
			return event{}, fmt.Errorf("%s ended too early: %s", filepath.Base(p.cmd.Path), trim(p.stderr.Bytes()))
		case <-limit.C:
			return event{}, fmt.Errorf("%s did not say %q: %s", filepath.Base(p.cmd.Path), kind, trim(p.stderr.Bytes()))
		case <-s.ctx.Done():
			return event{}, s.ctx.Err()
		}
	}
}

// stop asks a process to end and waits for it.
func (s *stage) stop(p *process) error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	limit := time.NewTimer(stopTimeout)
	defer limit.Stop()
	select {
	case err := <-p.done:
		p.done <- err
		var exit *exec.ExitError
		if errors.As(err, &exit) && !exit.Exited() {
			return nil // it was told to
		}
		if err != nil {
			return fmt.Errorf("%s: %s", filepath.Base(p.cmd.Path), trim(p.stderr.Bytes()))
		}
		return nil
	case <-limit.C:
		p.cmd.Process.Kill()
		return fmt.Errorf("%s does not end", filepath.Base(p.cmd.Path))
	}
}

func (s *stage) stopAll() {
	for i := len(s.procs) - 1; i >= 0; i-- {
		s.stop(s.procs[i])
	}
}

// run runs a tool to its end.
func (s *stage) run(name string, args ...string) error {
	out, err := exec.CommandContext(s.ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, trim(out))
	}
	return nil
}

// speak makes an Ogg Opus file of a spoken sentence.
func (s *stage) speak(sentence string) (string, error) {
	raw, wav, opus := filepath.Join(s.dir, "raw.wav"), filepath.Join(s.dir, "said.wav"), filepath.Join(s.dir, "said.opus")
	if err := s.run("espeak-ng", "-w", raw, sentence); err != nil {
		return "", err
	}
	if err := s.run("sox", raw, "-r", "48000", "-c", "1", wav); err != nil {
		return "", err
	}
	return opus, s.run("opusenc", "--quiet", "--framesize", "20", "--hard-cbr", "--bitrate", "24", wav, opus)
}

// startServer starts murmurd on a free loopback port and returns its address.
func (s *stage) startServer() (string, error) {
	data := filepath.Join(s.dir, "server")
	if err := os.Mkdir(data, 0o755); err != nil {
		return "", err
	}
	if os.Getuid() == 0 {
		// Started as root, murmurd becomes this user.
		if u, err := user.Lookup("mumble-server"); err == nil {
			uid, _ := strconv.Atoi(u.Uid)
			gid, _ := strconv.Atoi(u.Gid)
			if err := os.Chown(data, uid, gid); err != nil {
				return "", err
			}
		}
	}
	const attempts = 3 // a free port can be taken before the server opens it
	var err error
	for range attempts {
		var addr string
		if addr, err = s.tryServer(data); err == nil {
			fmt.Fprintf(s.out, "Server:      %s, unmodified, on %s\n", serverVersion(), addr)
			return addr, nil
		}
	}
	return "", err
}

func (s *stage) tryServer(data string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := l.Addr().String()
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	ini := filepath.Join(s.dir, "murmur.ini")
	text := fmt.Sprintf("database=%[1]s/db.sqlite\nlogfile=%[1]s/log.txt\nice=\nhost=127.0.0.1\nport=%[2]d\nusers=10\nbonjour=false\nautobanAttempts=0\n", data, port)
	if err := os.WriteFile(ini, []byte(text), 0o644); err != nil {
		return "", err
	}
	p, err := s.start("murmurd", "-fg", "-ini", ini)
	if err != nil {
		return "", err
	}
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
			return addr, nil
		}
		select {
		case err := <-p.done:
			p.done <- err
			return "", fmt.Errorf("murmurd ended: %s", trim(p.stderr.Bytes()))
		default:
		}
		if err := wait(s.ctx, 100*time.Millisecond); err != nil {
			return "", err
		}
	}
	return "", errors.New("murmurd does not listen")
}

func serverVersion() string {
	out, _ := exec.Command("murmurd", "-version").CombinedOutput()
	if i := bytes.Index(out, []byte("murmurd -- ")); i >= 0 {
		line, _, _ := bytes.Cut(out[i+len("murmurd -- "):], []byte("\n"))
		return "murmurd " + string(bytes.TrimSpace(line))
	}
	return "murmurd"
}

func (s *stage) makeSecret(path string) error {
	out, err := exec.CommandContext(s.ctx, s.sotto, "secret").Output()
	if err != nil {
		return err
	}
	return os.WriteFile(path, out, 0o600)
}

// startGuard starts a guard and returns its port.
func (s *stage) startGuard(name, server, secret string) (int, error) {
	p, err := s.start(s.sotto, "--state", filepath.Join(s.dir, name), "guard", "--json", "--secret-file", secret, server)
	if err != nil {
		return 0, err
	}
	e, err := s.await(p, "listening")
	return e.Port, err
}

// startRecord starts a listener, who is a Mumble client without Sotto.
func (s *stage) startRecord(name, url string) (*process, error) {
	p, err := s.start(s.sotto, "--state", filepath.Join(s.dir, name+"-recorder"), "record", "--plain", "--json",
		url, filepath.Join(s.dir, "heard-by-"+name))
	if err != nil {
		return nil, err
	}
	_, err = s.await(p, "connected")
	return p, err
}
