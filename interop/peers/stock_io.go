package peers

import "time"

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
