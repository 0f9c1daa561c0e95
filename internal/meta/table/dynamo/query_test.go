package dynamo

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// edges are characters with neighbours of another length, or none.
var edges = []rune{'\x01', '\x02', 'a', 'b', '\x7f', '\u0080', '\u07ff', '\u0800', '\ud7ff', '\ue000', '\uffff', '\U00010000', '\U0010ffff'}

// drawKey draws a key out of few, half of them as long as keys may be.
func drawKey(t *rapid.T, name string, least int) string {
	end := rapid.StringOfN(rapid.SampledFrom(edges), least, 3, 12).Draw(t, name)
	if end != "" && rapid.Bool().Draw(t, name+" long") {
		return strings.Repeat("k", table.MaxKeyBytes-len(end)) + end
	}
	return end
}

// TestBoundsAreTheRange: two bounds select what prefix, after and before do.
func TestBoundsAreTheRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := table.Range{
			PK: "p", Limit: 1,
			Prefix: drawKey(t, "prefix", 0),
			After:  drawKey(t, "after", 0),
			Before: drawKey(t, "before", 0),
		}
		if r.Prefix != "" && rapid.Bool().Draw(t, "shorten") {
			r.Prefix = r.Prefix[:1] // a short one of a long key
			if r.Prefix[0] >= 0x80 {
				r.Prefix = "k"
			}
		}
		b := boundsOf(r)
		for range 20 {
			sk := drawKey(t, "sk", 1)
			want := strings.HasPrefix(sk, r.Prefix) && (r.After == "" || sk > r.After) && (r.Before == "" || sk < r.Before)
			got := strings.HasPrefix(sk, b.prefix) && sk >= b.low && (b.high == "" || sk < b.high)
			if got != want || got && b.empty() {
				t.Fatalf("%+v became %+v, empty %v, which has %q: %v, want %v", r, b, b.empty(), sk, got, want)
			}
		}
		if len(b.low) > table.MaxKeyBytes || len(b.high) > table.MaxKeyBytes || len(b.prefix) > table.MaxKeyBytes {
			t.Fatalf("%+v became %d and %d bytes, too long for DynamoDB", r, len(b.low), len(b.high))
		}
	})
}

func TestBehind(t *testing.T) {
	long := strings.Repeat("k", table.MaxKeyBytes-1)
	for s, want := range map[string]string{
		"":                            "",
		"a":                           "b",
		"blob#":                       "blob$",
		"a\x7f":                       "a\u0080",
		"a\ud7ff":                     "a\ue000",
		"a\U0010ffff":                 "b",
		"\U0010ffff":                  "",
		"\U0010ffff\U0010ffff":        "",
		long + "a":                    long + "b",
		long + "\x7f":                 long[:len(long)-1] + "l",
		"a\U0010ffff\U0010ffff":       "b",
		"\U0010ffff\u00ff":            "\U0010ffff\u0100",
		long[:len(long)-2] + "\uffff": long[:len(long)-3] + "l",
	} {
		if got := behind(s); got != want {
			t.Errorf("behind %.20q of %d bytes: %.20q of %d, want %.20q of %d", s, len(s), got, len(got), want, len(want))
		}
	}
	if got := following("a"); got != "a\x01" {
		t.Errorf("following a: %q", got)
	}
	if got := following(long + "a"); got != long+"b" {
		t.Errorf("following the longest: %q", got[len(got)-3:])
	}
}
