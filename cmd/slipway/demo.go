package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/slipway-oci/slipway/internal/demo"
)

type demoCommand struct{}

// Run shows a registry at work.
func (demoCommand) Run(o output) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return demo.Run(ctx, o.out)
}
