package blob

import (
	"errors"
	"fmt"
)

// ErrKey says that a key is not of the form that Begin describes. Every method
// that takes a key answers it, because keys come back from stored rows.
var ErrKey = errors.New("blob: malformed key")

// The bounds of a key's length, in characters.
const (
	minKey = 8
	maxKey = 128
)

// CheckKey returns an error that is ErrKey unless the key consists of 8 to 128
// lower-case letters, digits and '-'. Such a key is a file name and an S3 key
// as it stands: it has no separator, no dot and no escape.
func CheckKey(key string) error {
	if len(key) < minKey || len(key) > maxKey {
		return fmt.Errorf("%w: %d characters, want %d to %d", ErrKey, len(key), minKey, maxKey)
	}
	for i := range len(key) {
		c := key[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%w: character %q", ErrKey, c)
		}
	}
	return nil
}
