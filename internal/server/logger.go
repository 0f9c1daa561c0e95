package server

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// NewLogger returns a logger in one of the formats text and json, that tells
// records of at least the level (debug, info, warn, error) and adds to each the
// id of the request it belongs to.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var min slog.Level
	if err := min.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: min}
	switch strings.ToLower(format) {
	case "text":
		return slog.New(requestLog{slog.NewTextHandler(w, opts)}), nil
	case "json":
		return slog.New(requestLog{slog.NewJSONHandler(w, opts)}), nil
	default:
		return nil, fmt.Errorf("log format %q: want text or json", format)
	}
}
