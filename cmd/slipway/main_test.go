package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// asSlipway makes the test binary behave as the program; see process_test.go.
const asSlipway = "TEST_AS_SLIPWAY"

func TestMain(m *testing.M) {
	if os.Getenv(asSlipway) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// parse returns what serve is told by a command line.
func parse(t *testing.T, args ...string) (*serveCommand, error) {
	t.Helper()
	var grammar cli
	parser, err := newParser(&grammar, new(bytes.Buffer), new(bytes.Buffer), func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"serve"}, args...))
	return &grammar.Serve, err
}

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	got, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	want := &serveCommand{
		Listen: "127.0.0.1:5000", Data: "./data",
		MaxManifestSize: 4 << 20, MaxManifestRefs: 2000, MaxBlobSize: 50 << 30, MaxUploads: 1000,
		UploadAge: 24 * time.Hour, UploadIdleTimeout: time.Minute, DownloadIdleTimeout: 2 * time.Minute,
		Grace: 6 * time.Hour, SweepInterval: time.Minute, ShutdownTimeout: 5 * time.Minute,
		LogFormat: "text", LogLevel: "info", Metrics: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("defaults\n%+v, want\n%+v", got, want)
	}
}

// Flag, environment, file, default: each beats what stands behind it.
func TestPrecedence(t *testing.T) {
	path := file(t, "slipway.yaml", "# all four\nlisten: file:1\ndata: file\nupload-age: 1h\nmax_blob_size: 1GiB\nmetrics: false\nmax-uploads: 7\n")
	t.Setenv("SLIPWAY_LISTEN", "env:1")
	t.Setenv("SLIPWAY_DATA", "env")
	t.Setenv("SLIPWAY_LOG_LEVEL", "warn")
	got, err := parse(t, "--config", path, "--listen", "flag:1")
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "flag:1" || got.Data != "env" || got.LogLevel != "warn" {
		t.Errorf("flag and environment: %+v", got)
	}
	if got.UploadAge != time.Hour || got.MaxBlobSize != 1<<30 || got.Metrics || got.MaxUploads != 7 {
		t.Errorf("file: %+v", got)
	}
	if got.Grace != 6*time.Hour || got.LogFormat != "text" {
		t.Errorf("defaults: %+v", got)
	}

	// The same by JSON, with the file named by the environment.
	t.Setenv("SLIPWAY_CONFIG", file(t, "slipway.json", `{"grace": "1m", "max-manifest-refs": 5, "allow-missing": true, "data": "file"}`))
	got, err = parse(t)
	if err != nil {
		t.Fatal(err)
	}
	if got.Grace != time.Minute || got.MaxManifestRefs != 5 || !got.AllowMissing || got.Data != "env" || got.UploadAge != 24*time.Hour {
		t.Errorf("JSON: %+v", got)
	}
	if got, err = parse(t, "--config", file(t, "empty.yaml", "")); err != nil || got.Grace != 6*time.Hour {
		t.Errorf("an empty file: %+v, %v", got, err)
	}
}

func TestConfigFileRefused(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"unknown flag": {"listn: x\n", "--listn"},
		"bad value":    {"upload-age: soon\n", "upload-age"},
		"bad size":     {"max-blob-size: big\n", "10GiB"},
		"no value":     {"listen: [a, b]\n", "listen"},
		"no file":      {"listen: {\n", "read config file"},
		"bad choice":   {"log-format: xml\n", "log-format"},
		"config":       {"config: other\n", "--config"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, "--config", file(t, "c.yaml", c.content))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := parse(t, "--config", "/nonexistent.yaml"); err == nil {
		t.Error("a config file that is not there is ignored")
	}
}

// The file is read before any flag is resolved: what is wrong with it is not
// told as if it were wrong with the first of them.
func TestConfigFileErrorsNameTheFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	misspelt := file(t, "bad.yaml", "lisen: x\n")
	for path, want := range map[string]string{
		misspelt: "config file " + misspelt + ": there is no flag --lisen; ",
		missing:  "read config file: open " + missing + ": ",
	} {
		if _, err := parse(t, "--config", path); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("by flag: %v, want %q", err, want)
		}
		t.Setenv("SLIPWAY_CONFIG", path)
		if _, err := parse(t); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("by environment: %v, want %q", err, want)
		}
		// All flags on the command line: it is read all the same.
		if _, err := parse(t, "--listen", "x:1"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("with flags: %v, want %q", err, want)
		}
		if code := run([]string{"version"}, new(bytes.Buffer), new(bytes.Buffer)); code != 0 {
			t.Errorf("a command that takes no config file reads it: %d", code)
		}
	}
}

// gc reads serve's file and takes what it knows.
func TestConfigFileIsShared(t *testing.T) {
	var grammar cli
	parser, err := newParser(&grammar, new(bytes.Buffer), new(bytes.Buffer), func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	path := file(t, "c.yaml", "listen: a:1\ndata: elsewhere\ngrace: 2h\n")
	if _, err := parser.Parse([]string{"gc", "--once", "--config", path}); err != nil {
		t.Fatal(err)
	}
	if grammar.GC.Data != "elsewhere" || grammar.GC.Grace != 2*time.Hour || !grammar.GC.Once {
		t.Errorf("%+v", grammar.GC)
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"serve", "--help"}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	help := strings.Join(strings.Fields(out.String()), " ") // undo the wrapping
	var grammar cli
	parser, err := newParser(&grammar, new(bytes.Buffer), new(bytes.Buffer), func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	flags := 0
	for _, node := range parser.Model.Children {
		if node.Name != "serve" {
			continue
		}
		for _, f := range node.Flags {
			flags++
			env := "SLIPWAY_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			note := "no default"
			if f.HasDefault {
				note = "default " + f.Default
			} else if f.IsBool() {
				note = "default false"
			}
			if f.Help == "" {
				t.Errorf("--%s has no help", f.Name)
			}
			want := regexp.QuoteMeta(f.Name) + `.*?` + regexp.QuoteMeta("["+note+", $"+env+"]")
			if !regexp.MustCompile(want).MatchString(help) {
				t.Errorf("the help has no --%s with [%s, $%s]", f.Name, note, env)
			}
		}
	}
	if flags < 20 {
		t.Errorf("only %d flags were looked at", flags)
	}

	var same bytes.Buffer
	if code := run([]string{"help", "serve"}, &same, &errs); code != 0 || same.String() != out.String() {
		t.Errorf("`slipway help serve` differs from `slipway serve --help`: %d", code)
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args        string
		code        int
		out, errout string
	}{
		{"", 0, "Usage: slipway", ""},
		{"help", 0, "gc", ""},
		{"help nonsense", 2, "", "nonsense"},
		{"--help", 0, "serve", ""},
		{"version", 0, "slipway ", ""},
		{"nonsense", 2, "", "nonsense"},
		{"serve --nonsense", 2, "", "--nonsense"},
		{"serve --max-blob-size much", 2, "", "10GiB"},
		{"serve --max-uploads=-1", 2, "", "--max-uploads"},
		{"gc --once --grace 0s", 2, "", "--grace"},
		{"serve --listen 0.0.0.0:0", 1, "", "--allow-unauthenticated"},
		{"serve --tls-cert x", 1, "", "--tls-key"},
		{"gc", 1, "", "--once"},
		{"gc --once --data /nonexistent", 1, "", "/nonexistent"},
	} {
		var out, errout bytes.Buffer
		code := run(strings.Fields(c.args), &out, &errout)
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errout.String(), c.errout) {
			t.Errorf("slipway %s: %d\n%s%s", c.args, code, &out, &errout)
		}
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]size{
		"0": 0, "512": 512, "512b": 512, "1k": 1024, "64KiB": 64 << 10, "1KB": 1000, "10GiB": 10 << 30,
		"1.5GiB": 3 << 29, "2 MiB": 2 << 20, "3T": 3 << 40, " 7 ": 7,
	} {
		var s size
		if err := s.UnmarshalText([]byte(in)); err != nil || s != want {
			t.Errorf("%q is %d, %v; want %d", in, s, err, want)
		}
	}
	for _, in := range []string{"", "GiB", "-1", "1.2.3", "5 parsecs", "9999999TiB", "1e5", "NaN"} {
		var s size
		if err := s.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q is %d, want an error", in, s)
		}
	}
}
