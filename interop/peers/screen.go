package peers

import (
	"bufio"
	"fmt"
	"image"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// screen is a virtual X display with a hand (xdotool) and an eye (import). There
// is no window manager, as nothing here needs one.
type screen struct {
	t       testing.TB
	display string
}

// newScreen starts Xvfb on a display number of its own choosing.
func newScreen(t testing.TB) *screen {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatalf("peers: %v", err)
	}
	defer r.Close()
	// -noreset: without it the server starts over when its last client leaves,
	// which is each xdotool that comes before the first window, and whoever
	// connects in that moment is turned away.
	cmd := exec.Command(Tool(t, "Xvfb"), "-displayfd", "3", "-screen", "0", "1024x768x24",
		"-noreset", "-nolisten", "tcp", "-ac")
	cmd.ExtraFiles = []*os.File{w}
	p, err := startProcess(t, "Xvfb", cmd)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatalf("peers: %v", err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("peers: Xvfb names no display: %v\n%s", err, p.out)
	}
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("peers: Xvfb says display %q", line)
	}
	return &screen{t: t, display: fmt.Sprintf(":%d", n)}
}

// do runs xdotool.
func (s *screen) do(args ...string) (string, error) {
	return try(s.t, []string{"DISPLAY=" + s.display}, "xdotool", args...)
}

// windows lists the visible windows whose title matches the regular expression.
func (s *screen) windows(title string) []string {
	out, err := s.do("search", "--onlyvisible", "--name", title)
	if err != nil {
		return nil // xdotool fails when there is none
	}
	return strings.Fields(out)
}

// title is the title of a window, "" when it has gone.
func (s *screen) title(window string) string {
	out, err := s.do("getwindowname", window)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// keys focuses the window and presses keys in it.
func (s *screen) keys(window string, keys ...string) error {
	if _, err := s.do("windowfocus", "--sync", window); err != nil {
		return err
	}
	_, err := s.do(append([]string{"key", "--clearmodifiers"}, keys...)...)
	return err
}

// click presses the left button at a place of the window.
func (s *screen) click(window string, x, y int) error {
	_, err := s.do("mousemove", "--window", window, strconv.Itoa(x), strconv.Itoa(y), "click", "1")
	return err
}

// size is a window's width and height in pixels.
func (s *screen) size(window string) (w, h int, err error) {
	out, err := s.do("getwindowgeometry", "--shell", window)
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "WIDTH":
			w, err = strconv.Atoi(value)
		case "HEIGHT":
			h, err = strconv.Atoi(value)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return w, h, nil
}

// shot writes what is on the screen to a PNG file.
func (s *screen) shot(name string) error {
	_, err := try(s.t, []string{"DISPLAY=" + s.display}, "import", "-silent", "-window", "root", "png:"+name)
	return err
}

// clipboard is the text a client has copied.
func (s *screen) clipboard() (string, error) {
	return try(s.t, []string{"DISPLAY=" + s.display}, "xclip", "-o", "-selection", "clipboard")
}

// pixels are a part of the screen, three bytes each, row by row.
func (s *screen) pixels(r image.Rectangle) ([]byte, error) {
	crop := fmt.Sprintf("%dx%d+%d+%d", r.Dx(), r.Dy(), r.Min.X, r.Min.Y)
	out, err := try(s.t, []string{"DISPLAY=" + s.display}, "import", "-silent", "-window", "root", "-crop", crop, "-depth", "8", "rgb:-")
	if err == nil && len(out) != 3*r.Dx()*r.Dy() {
		err = fmt.Errorf("peers: a picture of %d bytes, want %d", len(out), 3*r.Dx()*r.Dy())
	}
	return []byte(out), err
}
