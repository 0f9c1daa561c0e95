package s3

// SetMaxCopy makes objects larger than n bytes too large to copy.
func (s *Store) SetMaxCopy(n int64) { s.maxCopy = n }
