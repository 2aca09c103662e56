package client_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/identity"
	"github.com/sotto-voip/sotto/trust"
)

// slowFile is where a Memory writes: a file that others write too.
type slowFile struct {
	book   trust.Book
	writes int
	err    error
}

func (f *slowFile) merge(p trust.Patch) (*trust.Book, error) {
	time.Sleep(300 * time.Millisecond) // of the virtual clock: a slow disk
	if f.err != nil {
		return nil, f.err
	}
	p.Apply(&f.book)
	f.book.Saved()
	f.writes++
	return trust.Parse(f.book.Marshal())
}

func knows(b *trust.Book, p trust.Person) bool { return b.Judge("server", p).Verdict == trust.Known }

// A server that renames somebody again and again makes few writes, and none is
// waited for; what others wrote meanwhile is there afterwards.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowFile{}
		m := client.Memory{Book: &trust.Book{}, Merge: disk.merge}
		bob := trust.Person{Identity: identity.New().Public()}
		other := trust.Person{Identity: identity.New().Public(), Name: "carol"}
		disk.book.See(time.Now(), "server", other)
		begin := time.Now()
		for i := range 1000 {
			bob.Name = fmt.Sprint("bob ", i%60)
			m.Book.See(time.Now(), "server", bob)
			before := time.Now()
			m.Tick(before)
			if !time.Now().Equal(before) {
				t.Fatal("the owner waited")
			}
			select {
			case e := <-m.Done():
				if err := m.Ended(e); err != nil {
					t.Fatal(err)
				}
			case <-time.After(10 * time.Millisecond):
			}
		}
		if took := time.Since(begin); disk.writes < 2 || disk.writes > 2+int(took/(2*time.Second)) {
			t.Errorf("%d writes in %v", disk.writes, took)
		}
		if err := m.Flush(); err != nil || m.Book.Changed() {
			t.Error("not written at the end: ", err)
		}
		if !knows(&disk.book, bob) || !knows(m.Book, bob) || !knows(m.Book, other) {
			t.Error("somebody is forgotten")
		}
	})
}

// What could not be written is written later.
func TestMemoryError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &slowFile{err: errors.New("disk full")}
		m := client.Memory{Book: &trust.Book{}, Merge: disk.merge}
		bob := trust.Person{Identity: identity.New().Public(), Name: "bob"}
		m.Book.See(time.Now(), "server", bob)
		m.Tick(time.Now())
		if err := m.Ended(<-m.Done()); !errors.Is(err, disk.err) || !m.Book.Changed() {
			t.Errorf("%v, changed %v", err, m.Book.Changed())
		}
		if d := m.Deadline(); !d.After(time.Now()) {
			t.Error("tries again without a pause")
		}
		disk.err = nil
		time.Sleep(time.Until(m.Deadline()))
		m.Tick(time.Now())
		if err := m.Ended(<-m.Done()); err != nil || !knows(&disk.book, bob) {
			t.Errorf("%v, or forgotten", err)
		}
	})
}

// Without anything to write nothing is asked for.
func TestMemoryIdle(t *testing.T) {
	for what, m := range map[string]*client.Memory{
		"no book": {Merge: (&slowFile{}).merge}, "nothing new": {Book: &trust.Book{}, Merge: (&slowFile{}).merge}, "no file": {Book: &trust.Book{}},
	} {
		m.Tick(time.Now())
		if !m.Deadline().IsZero() || m.Flush() != nil || m.Done() != nil {
			t.Error(what)
		}
	}
}
