package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxDepth bounds how deep the JSON of a manifest may be nested.
	maxDepth = 64
	// maxValues bounds how many fields and elements a manifest has in all: each
	// may be three bytes on the wire and a hundred in memory. An image index of
	// 2,000 entries with all their platforms and annotations has a fifth of it.
	maxValues = 100_000
)

// place is where in a manifest a JSON value stands, as far as it matters.
type place uint8

const (
	placeOther       place = iota // platform, annotations, fields nobody knows
	placeDocument                 // the manifest itself
	placeDescriptor               // config, subject, an element of layers, ...
	placeDescriptors              // layers, manifests, blobs
)

// fields are the names that the document and its descriptors are read by, and
// where their values stand.
var fields = map[place]map[string]place{
	placeDocument: {
		"schemaVersion": placeOther, "mediaType": placeOther, "artifactType": placeOther, "annotations": placeOther,
		"config": placeDescriptor, "subject": placeDescriptor,
		"layers": placeDescriptors, "manifests": placeDescriptors, "blobs": placeDescriptors,
	},
	placeDescriptor: {
		"mediaType": placeOther, "digest": placeOther, "size": placeOther, "data": placeOther, "urls": placeOther,
		"annotations": placeOther, "artifactType": placeOther, "platform": placeOther,
	},
}

// checkStrict accepts JSON that every reader understands alike, and returns the
// names of the document's fields. encoding/json alone would take the last of
// two equal names, and "Layers" for "layers"; another reader may see another
// image in the same bytes.
//
// It also counts, and stops where there is too much: it holds one token at a
// time, while encoding/json makes everything of what it is given.
func checkStrict(body []byte, maxReferences int) (names map[string]bool, err error) {
	if !utf8.Valid(body) {
		return nil, errors.New("it is not UTF-8")
	}
	c := strictChecker{dec: json.NewDecoder(bytes.NewReader(body)), top: make(map[string]bool), maxReferences: maxReferences}
	c.dec.UseNumber()
	tok, err := c.dec.Token()
	if err == nil && tok != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	if err == nil {
		err = c.object(placeDocument, 1)
	}
	if err != nil {
		return nil, sayTruncated(err)
	}
	if _, err := c.dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return c.top, nil
}

func sayTruncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON ends early")
	}
	return err
}

type strictChecker struct {
	dec                *json.Decoder
	top                map[string]bool
	references, values int // so far
	maxReferences      int
}

// count notes one more field of an object, or element of an array at the place.
func (c *strictChecker) count(p place) error {
	if c.values++; c.values > maxValues {
		return fmt.Errorf("it has more than %d fields and values: move data from it into a layer", maxValues)
	}
	if p == placeDescriptors {
		if c.references++; c.references > c.maxReferences {
			return errReferences(c.maxReferences)
		}
	}
	return nil
}

// object checks what follows a '{' up to its '}'.
func (c *strictChecker) object(p place, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	}
	seen := make(map[string]bool)
	if p == placeDocument {
		seen = c.top
	}
	for c.dec.More() {
		tok, err := c.dec.Token()
		if err != nil {
			return err
		}
		name, _ := tok.(string) // in an object the decoder accepts nothing else
		if err := c.count(placeOther); err != nil {
			return err
		}
		if seen[name] {
			return fmt.Errorf("the field %.80q is there twice", name)
		}
		seen[name] = true
		inside, known := fields[p][name]
		if !known {
			if twin := sameButCase(fields[p], name); twin != "" {
				return fmt.Errorf("the field %.80q has to be written %q", name, twin)
			}
		}
		if err := c.value(inside, depth); err != nil {
			return err
		}
	}
	_, err := c.dec.Token()
	return err
}

// array checks what follows a '[' up to its ']'.
func (c *strictChecker) array(p place, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	}
	element := placeOther
	if p == placeDescriptors {
		element = placeDescriptor
	}
	for c.dec.More() {
		if err := c.count(p); err != nil {
			return err
		}
		if err := c.value(element, depth); err != nil {
			return err
		}
	}
	_, err := c.dec.Token()
	return err
}

func (c *strictChecker) value(p place, depth int) error {
	tok, err := c.dec.Token()
	switch {
	case err != nil:
		return err
	case tok == json.Delim('{'):
		return c.object(p, depth+1)
	case tok == json.Delim('['):
		return c.array(p, depth+1)
	default:
		return nil
	}
}

func sameButCase(known map[string]place, name string) string {
	for k := range known {
		if strings.EqualFold(k, name) {
			return k
		}
	}
	return ""
}

// has returns which of the fields the document has.
func has(names map[string]bool, fields ...string) []string {
	return slices.DeleteFunc(fields, func(f string) bool { return !names[f] })
}
