package proxy

import "bytes"

// The functions in this file read a text that the scanner found to be JSON, so they check nothing. They never
// recurse.

// skipSpace returns the first byte from i on that is no white space.
func skipSpace(p []byte, i int) int {
	for i < len(p) && (p[i] == ' ' || p[i] == '\t' || p[i] == '\n' || p[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the end of the string that begins at i.
func skipString(p []byte, i int) int {
	for i++; i < len(p); i++ {
		switch p[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return len(p)
}

// skipValue returns the end of the value that begins at i.
func skipValue(p []byte, i int) int {
	depth := 0
	for i < len(p) {
		switch p[i] {
		case '"':
			i = skipString(p, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue
		default:
			for i < len(p) && bytes.IndexByte([]byte(",:{}[]\" \t\r\n"), p[i]) < 0 {
				i++
			}
		}
		if depth <= 0 {
			return min(i, len(p))
		}
	}
	return len(p)
}

// item is a member of an object, or a value in an array.
type item struct {
	name  []byte // quoted; nil in an array
	value []byte
	// start and end are its place in the text, its name included.
	start, end int
}

// items yields the members of an object or the values of an array.
func items(p []byte, yield func(item) bool) {
	i := skipSpace(p, 0)
	if i >= len(p) || p[i] != '{' && p[i] != '[' {
		return
	}
	object := p[i] == '{'
	i++
	for {
		if i = skipSpace(p, i); i >= len(p) || p[i] == '}' || p[i] == ']' {
			return
		}
		if p[i] == ',' {
			i++
			continue
		}
		it := item{start: i}
		if object {
			end := skipString(p, i)
			it.name = p[i:end]
			if i = skipSpace(p, end); i < len(p) && p[i] == ':' {
				i++
			}
			i = skipSpace(p, i)
		}
		end := skipValue(p, i)
		if end <= i {
			return
		}
		it.value, it.end = p[i:end], end
		i = end
		if !yield(it) {
			return
		}
	}
}

// member follows a path of names and returns the value there, nil if there is none. Where a name
// stands twice the last one counts.
func member(p []byte, path ...string) []byte {
	for _, name := range path {
		if i := skipSpace(p, 0); i >= len(p) || p[i] != '{' {
			return nil
		}
		var found []byte
		items(p, func(it item) bool {
			if len(it.name) == len(name)+2 && string(it.name[1:len(it.name)-1]) == name || hasEscape(it.name) && unquote(it.name) == name {
				found = it.value
			}
			return true
		})
		if found == nil {
			return nil
		}
		p = found
	}
	return p
}
