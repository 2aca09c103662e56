package headless

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// maxLine bounds one typed line in bytes.
const maxLine = 64 << 10

// ErrLongLine means that a line was longer than any Mumble server takes.
var ErrLongLine = errors.New("headless: your message was not sent: the line is longer than 64 KiB")

// Line is one line that somebody typed, or why it is none.
type Line struct {
	Text string // without its end
	Err  error  // ErrLongLine: what it held is gone, and lines follow
}

// Lines reads lines in the background until in ends; the channel is then
// closed. Of a line that is too long nothing is kept. The goroutine ends with the
// reader.
func Lines(in io.Reader) <-chan Line {
	out := make(chan Line)
	go func() {
		defer close(out)
		r := bufio.NewReaderSize(in, maxLine)
		for {
			b, err := r.ReadSlice('\n')
			l := Line{Text: strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")}
			for errors.Is(err, bufio.ErrBufferFull) {
				l = Line{Err: ErrLongLine}
				_, err = r.ReadSlice('\n')
			}
			if err == nil || len(b) > 0 {
				out <- l
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}
