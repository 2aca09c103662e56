package guard

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
	"github.com/sotto-voip/sotto/endpoint"
	"github.com/sotto-voip/sotto/events"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/mumble/control"
	"github.com/sotto-voip/sotto/mumble/mumblepb"
)

// TestQuestionIsNotDrowned: a hundred people whom the server shows, and who speak
// unencrypted, each have a line of their own, and the question is said all the same.
func TestQuestionIsNotDrowned(t *testing.T) {
	a, b := net.Pipe()
	ours, theirs := client.NewConn(a), client.NewConn(b)
	var mu sync.Mutex
	var lines []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for f := range theirs.Frames() {
			m, err := control.Decode(f)
			if tm, ok := m.(*mumblepb.TextMessage); ok && err == nil {
				mu.Lock()
				lines = append(lines, tm.GetMessage())
				mu.Unlock()
			}
		}
	}()
	end, err := endpoint.NewGroups(e2ee.GroupsConfig{Server: [32]byte{1}, Address: "voice.example.org:64738", Device: identity.New().NewDevice(0)})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i := range uint32(100) {
		if _, _, err := end.FromServer(now, &mumblepb.UserState{Session: proto.Uint32(i + 1), Name: proto.String(fmt.Sprint("ghost", i))}); err != nil {
			t.Fatal(err)
		}
	}
	s := &session{
		g: &Guard{cfg: Config{Events: func(events.Event) {}}}, end: end, synced: true,
		said: map[string]time.Time{}, marks: marks{}, down: &downstream{conn: ours},
	}
	told := 0
	for range 10 { // what comes in a fifth of a second
		for i := range uint32(100) {
			if s.marked(now, i+1) {
				told++
			}
		}
	}
	s.fromGroups(endpoint.Question{Asked: e2ee.Asked{Question: e2ee.QuestionIdentity, Text: "“bob” has another key."}})
	// What is written has arrived when the connection has ended.
	for end := now.Add(5 * time.Second); ; {
		mu.Lock()
		all := strings.Join(lines, "\n")
		mu.Unlock()
		if strings.Contains(all, "another key") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the question is not among %q", all)
		}
	}
	if told == 0 || told > 10*lineBurst {
		t.Errorf("%d packets of people who were named", told)
	}
	ours.Close(0)
	theirs.Close(0)
	<-done
}
