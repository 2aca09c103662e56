package peers

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"strconv"
	"time"
)

// Record begins to record what the client plays.
func (c *StockClient) Record() *Recording {
	c.t.Helper()
	return c.card.record("out.monitor")
}

// RecordSink records what the client plays for the given time.
func (c *StockClient) RecordSink(d time.Duration) Sound {
	c.t.Helper()
	r := c.Record()
	if !until(d+10*time.Second, func() bool { return r.Len() >= d }) {
		c.t.Fatalf("peers: recorded %v instead of %v", r.Len(), d)
	}
	return r.Stop()
}

// Streams is what the sound card says about the client's streams, for diagnosis.
func (c *StockClient) Streams() string {
	var all string
	for _, kind := range []string{"sink-inputs", "source-outputs"} {
		out, err := try(c.t, c.card.env, "pactl", "list", kind)
		if err != nil {
			out = err.Error()
		}
		all += out
	}
	return all
}

// PlayMic plays a WAV file into the client's microphone and returns when it has
// been played.
func (c *StockClient) PlayMic(wav string) {
	c.t.Helper()
	if err := c.card.play("micsink", wav); err != nil {
		c.t.Error(err)
	}
}

// SendChat types a line into the client's chat bar and presses Return. With
// nothing selected the line goes to the client's channel.
func (c *StockClient) SendChat(text string) {
	c.t.Helper()
	if err := c.chat(text); err != nil {
		c.t.Errorf("peers: chat: %v", err)
	}
}

func (c *StockClient) chat(text string) error {
	main, err := c.mainWindow()
	if err != nil {
		return err
	}
	_, h, err := c.screen.size(main)
	if err != nil {
		return err
	}
	if _, err := c.screen.do("windowfocus", "--sync", main); err != nil {
		return err
	}
	// The chat bar stands at the lower left corner in every layout.
	if err := c.screen.click(main, 60, h-22); err != nil {
		return err
	}
	if _, err := c.screen.do("type", "--delay", "15", "--", text); err != nil {
		return err
	}
	_, err = c.screen.do("key", "Return")
	return err
}

// LogView is the text of the client's log: what it has told the person.
func (c *StockClient) LogView() (string, error) {
	c.t.Helper()
	main, err := c.mainWindow()
	if err != nil {
		return "", err
	}
	if _, err := c.screen.do("windowfocus", "--sync", main); err != nil {
		return "", err
	}
	if err := c.screen.click(main, 60, 200); err != nil {
		return "", err
	}
	if _, err := c.screen.do("key", "--clearmodifiers", "ctrl+a", "ctrl+c"); err != nil {
		return "", err
	}
	return c.screen.clipboard()
}

// Window waits for a window with that title, a regular expression, and moves it to
// the screen's corner, so that Click finds what is in it.
func (c *StockClient) Window(title string) error {
	c.t.Helper()
	w, err := c.corner(title)
	if err == nil {
		_, err = c.screen.do("windowfocus", "--sync", w)
	}
	return err
}

func (c *StockClient) corner(title string) (window string, err error) {
	var all []string
	if !until(10*time.Second, func() bool {
		all = c.screen.windows(title)
		return len(all) == 1
	}) {
		return "", fmt.Errorf("peers: %d windows %q among %q", len(all), title, c.Titles())
	}
	_, err = c.screen.do("windowmove", "--sync", all[0], "0", "0")
	return all[0], err
}

// Click presses a mouse button at a place of the screen.
func (c *StockClient) Click(button string, x, y int) error {
	_, err := c.screen.do("mousemove", strconv.Itoa(x), strconv.Itoa(y), "click", button)
	return err
}

// Protocol is the line of the server's protocol version in the client's window
// "Server information", as the person reads it: a picture, for the text of that
// window cannot be copied. Two of them are equal when the versions are. (A 1.3
// client writes at most 255 for the last number, for that is all it is told.)
func (c *StockClient) Protocol() ([]byte, error) {
	c.t.Helper()
	main, err := c.mainWindow()
	if err != nil {
		return nil, err
	}
	if err := c.screen.click(main, 51, 43); err != nil { // the letter i in the tool bar
		return nil, err
	}
	window, err := c.corner("^(Mumble )?Server [Ii]nformation$")
	if err != nil {
		return nil, err
	}
	// A window is there before it is painted.
	last := []byte(nil)
	if !until(10*time.Second, func() bool {
		var line []byte
		if line, err = c.screen.pixels(protocolLine[c.kind]); err != nil {
			return true
		}
		painted := bytes.Equal(line, last) && !plain(line)
		last = line
		return painted
	}) {
		return nil, errors.New("peers: the server information stays empty")
	}
	if err != nil {
		return nil, err
	}
	return last, c.screen.keys(window, "Escape")
}

// protocolLine is where Protocol looks, in a window at the screen's corner.
var protocolLine = map[StockKind]image.Rectangle{
	Mumble134: image.Rect(60, 46, 260, 66),
	Mumble15:  image.Rect(20, 119, 230, 139),
}

// plain reports whether all pixels are the same.
func plain(pixels []byte) bool {
	return len(pixels) < 3 || bytes.Equal(pixels[3:], pixels[:len(pixels)-3])
}
