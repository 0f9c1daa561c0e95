package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// size is a number of bytes that a person writes: 512, 64KiB, 10GiB, 1.5GB.
type size int64

// units by suffix, in lower case. The short letters mean powers of 1024, as in
// most tools for servers.
var units = map[string]float64{
	"": 1, "b": 1,
	"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
	"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
	"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
	"t": 1 << 40, "tib": 1 << 40, "tb": 1e12,
}

// UnmarshalText reads the size.
func (s *size) UnmarshalText(text []byte) error {
	in := strings.TrimSpace(string(text))
	digits := len(in) - len(strings.TrimLeft(in, "0123456789."))
	unit, known := units[strings.ToLower(strings.TrimSpace(in[digits:]))]
	n, err := strconv.ParseFloat(in[:digits], 64)
	if err != nil || !known || n*unit >= math.MaxInt64 {
		return fmt.Errorf("%q is no size: write a number of bytes, or one with a unit such as 64KiB or 10GiB", in)
	}
	*s = size(n * unit)
	return nil
}

// String writes the size with the largest unit that keeps it whole.
func (s size) String() string {
	n, unit := int64(s), ""
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, next
	}
	return strconv.FormatInt(n, 10) + unit
}
