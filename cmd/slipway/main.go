// Command slipway is a container registry: `slipway serve` runs it.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// cli is the command line. A command is a struct in a file of its own that
// parses and calls; what it does is in internal/.
type cli struct {
	Serve   serveCommand   `cmd:"" help:"Run the registry."`
	GC      gcCommand      `cmd:"" name:"gc" help:"Free the space of what nothing refers to, in a registry that is stopped."`
	Demo    demoCommand    `cmd:"" help:"Show a registry at work: push, pull, referrers, mount, delete, in a temporary directory."`
	Version versionCommand `cmd:"" help:"Print the version."`
	Help    helpCommand    `cmd:"" help:"Print help on slipway or on one of its commands."`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) (code int) {
	// Kong ends the process by a function after it printed help; here this
	// unwinds instead, so that tests can look at it.
	type exit int
	defer func() {
		if e, ok := recover().(exit); ok {
			code = int(e)
		}
	}()
	parser, err := newParser(&cli{}, stdout, stderr, func(code int) { panic(exit(code)) })
	if err != nil {
		fmt.Fprintln(stderr, "slipway:", err)
		return 2
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "slipway: %v\nTry `slipway help`.\n", err)
		return 2
	}
	if err := ctx.Run(output{stdout, stderr}); err != nil {
		var told exitCode
		if errors.As(err, &told) {
			return int(told)
		}
		fmt.Fprintln(stderr, "slipway:", err)
		return 1
	}
	return 0
}

// exitCode is the error of a command that has told what is wrong already.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// output is where a command writes: what was asked for to out, the rest to err.
type output struct{ out, err io.Writer }

func newParser(grammar *cli, stdout, stderr io.Writer, exit func(int)) (*kong.Kong, error) {
	file := new(configFile)
	return kong.New(grammar,
		kong.Name("slipway"),
		kong.Description("A container registry of your own."),
		kong.Writers(stdout, stderr),
		kong.Exit(exit),
		kong.UsageOnError(),
		kong.DefaultEnvars("SLIPWAY"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.ValueFormatter(describe),
		kong.WithBeforeResolve(file.load),
		kong.Resolvers(file),
	)
}
