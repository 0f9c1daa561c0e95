// Package demo shows a registry at work: it starts one in a temporary directory
// and talks to it as a client would, step by step.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/slipway-oci/slipway/internal/server"
)

// Run runs the demo and tells each step and its time on w. An error is the step
// that failed.
func Run(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "slipway-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	began := time.Now()
	srv, err := server.New(server.Options{
		Listen:          "127.0.0.1:0",
		Data:            dir,
		ShutdownTimeout: 10 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d := &demo{out: w, registry: srv.Addr().String(), data: srv.Data(), client: &http.Transport{}}
	fmt.Fprintf(w, "\nA registry of its own, at %s, with its data in %s\n\n", d.registry, dir)

	serving, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(serving) }()

	for _, s := range d.steps() {
		if err = d.run(ctx, s); err != nil {
			break
		}
	}
	d.client.CloseIdleConnections()
	stop()
	if serr := <-served; serr != nil {
		err = errors.Join(err, fmt.Errorf("demo: the registry: %w", serr))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nAll of it worked, in %s. `slipway serve` starts a registry that stays.\n\n", round(time.Since(began)))
	return nil
}

// step is one thing that the demo shows. It returns what there is to tell.
type step struct {
	title string
	do    func(context.Context) (string, error)
}

// titleWidth aligns the times.
const titleWidth = 58

func (d *demo) run(ctx context.Context, s step) error {
	start := time.Now()
	told, err := s.do(ctx)
	took := round(time.Since(start))
	if err != nil {
		fmt.Fprintf(d.out, "  ✗ %-*s %8s\n", titleWidth, s.title, took)
		return fmt.Errorf("demo: %s: %w", s.title, err)
	}
	fmt.Fprintf(d.out, "  ✓ %-*s %8s\n", titleWidth, s.title, took)
	if told != "" {
		fmt.Fprintf(d.out, "      %s\n", told)
	}
	return nil
}

func round(t time.Duration) time.Duration {
	switch {
	case t >= time.Second:
		return t.Round(10 * time.Millisecond)
	case t >= time.Millisecond:
		return t.Round(100 * time.Microsecond)
	default:
		return t.Round(time.Microsecond)
	}
}
