package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/slipway-oci/slipway/internal/datadir"
	"github.com/slipway-oci/slipway/internal/server"
)

type gcCommand struct {
	Once        bool          `help:"Sweep once and end. Required: a running registry sweeps by itself." env:"-"`
	Config      string        `help:"The config file of serve, for --data and --grace." placeholder:"FILE"`
	Data        string        `help:"Directory of the registry." default:"./data" placeholder:"DIR"`
	Grace       time.Duration `help:"Grace period that serve runs with." default:"6h" placeholder:"TIME"`
	IgnoreGrace bool          `help:"Free at once what would have to wait for its grace period." env:"-"`
}

// Run collects and says what was freed.
func (c *gcCommand) Run(o output) error {
	if !c.Once {
		return errors.New("gc: say --once: a running registry collects by itself, every --sweep-interval")
	}
	data, err := datadir.OpenExisting(c.Data)
	if errors.Is(err, datadir.ErrInUse) {
		return fmt.Errorf("gc: %w: a running registry collects by itself; stop it first to collect by hand", err)
	}
	if err != nil {
		return fmt.Errorf("gc: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := server.Collect(ctx, data, server.CollectOptions{Grace: c.Grace, IgnoreGrace: c.IgnoreGrace})
	fmt.Fprintf(o.out, "freed %s: %d objects deleted, %d blobs taken out of repositories, %d marked, %d revived, %d uploads ended\n",
		server.FormatBytes(report.Freed), report.Deleted, report.Unlinked, report.Condemned, report.Revived, report.Uploads)
	if err == nil && !c.IgnoreGrace && report.Condemned > 0 {
		fmt.Fprintf(o.out, "what was marked is freed by a run after its grace period of %s; --ignore-grace does not wait\n", c.Grace)
	}
	return errors.Join(err, data.Close())
}
