package main

import (
	"context"
	"os/exec"
	"runtime"
	"time"

	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/headless"
)

// notifyPatience bounds how long a program that shows a notification may take.
const notifyPatience = 5 * time.Second

// notification is what a person has to know at once though they look at Mumble and not
// at guard: that Mumble is not behind guard, so that what they say is not protected.
// "" for all else.
func notification(e events.Event) string {
	switch {
	case e.Event == "notice" && e.Code == "absent", e.Event == "elsewhere":
		return e.Text
	case e.Event == "client_undecided":
		return "Your Mumble asked about the certificate of Sotto and has not come back. If you pressed Enter, that was No: connect again, compare, and press Yes."
	}
	return ""
}

// notifyWith is the command that shows a notification on an operating system; nil: there
// is none that is known.
func notifyWith(system, text string) []string {
	switch system {
	case "darwin": // text is an argument, and never a part of the script
		return []string{"osascript", "-e", "on run argv", "-e", `display notification (item 1 of argv) with title "Sotto"`, "-e", "end run", text}
	case "windows":
		return nil
	}
	return []string{"notify-send", "--app-name=Sotto", "--urgency=critical", "--", "Sotto", text}
}

// showNotification asks the desktop to show a text. Where it cannot, the line in guard's
// window has to do.
func showNotification(text string) {
	argv := notifyWith(runtime.GOOS, headless.Printable(text))
	if argv == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), notifyPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	cmd.Run() // without a desktop it fails, and nobody is there to be told
}
