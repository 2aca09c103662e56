package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/sotto-voip/sotto/client"
	"github.com/sotto-voip/sotto/e2ee"
)

// A bot that says back, encrypted, what people say and write to it.
func ExampleDial() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	bot, err := client.Dial(ctx, client.Config{
		Address:   "voice.example:64738",
		Username:  "echo",
		Bot:       true,
		Channel:   "Lobby",
		Policy:    e2ee.PolicyRequire,
		Secret:    os.Getenv("SOTTO_SECRET"),
		Reconnect: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	context.AfterFunc(ctx, func() { bot.Close() })
	for ev := range bot.Events() {
		switch ev := ev.(type) {
		case client.Voice:
			// Frame numbers are each sender's own; these continue the speaker's.
			bot.SendVoice(client.Frame{FrameNumber: ev.FrameNumber, Opus: ev.Opus, Terminator: ev.Terminator})
		case client.TextMessage:
			if ev.Encrypted {
				bot.SendPrivate(ev.From, ev.HTML)
			}
		case client.GateChanged:
			log.Printf("now %v leaves", ev.Leave)
		case client.Disconnected:
			log.Printf("disconnected: %v", ev.Err)
		}
	}
}

// Twenty packets of 20 ms in their own time, once somebody can hear them.
func ExampleClient_SendVoice() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Config{
		Address: "voice.example:64738", Username: "player",
		Policy: e2ee.PolicyRequire, Secret: os.Getenv("SOTTO_SECRET"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	go func() {
		for range c.Events() { // must be read, even if nothing is done with them
		}
	}()
	if err := c.WaitReady(ctx); err != nil {
		log.Fatal(err)
	}
	packets := make([][]byte, 20) // from an encoder, or package ogg
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i, p := range packets {
		err := c.SendVoice(client.Frame{FrameNumber: uint64(2 * i), Opus: p, Terminator: i == len(packets)-1})
		if err != nil {
			fmt.Println("not sent:", err) // client.ErrHeld: the gate is closed
		}
		<-tick.C
	}
}
