package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"
)

// maxHostFile bounds a host's configuration, bytes.
const maxHostFile = 16 << 20

// errNotStrict means that a host's file is not what can be edited without losing something.
var errNotStrict = errors.New("it is not strict JSON (comments or a trailing comma)")

// place returns the host's file on this system, "" if it is not known.
func (h mcpHost) place() (string, error) {
	path, ok := h.paths[runtime.GOOS]
	if !ok {
		path = h.paths[""]
	}
	switch {
	case strings.HasPrefix(path, "~/"):
		home, err := os.UserHomeDir()
		return filepath.Join(home, filepath.FromSlash(path[2:])), err
	case strings.HasPrefix(path, "%AppData%/"):
		dir, err := os.UserConfigDir()
		return filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(path, "%AppData%/"))), err
	}
	return filepath.FromSlash(path), nil
}

// writeEntry puts an entry into a host's file and keeps everything else in it, and a copy of the file. It returns the
// copy's name, "" if there was no file, and whether an entry of that name was replaced.
func writeEntry(path, member, name string, entry any) (backup string, replaced bool, err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the file, and not the link to it
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", false, err
	}
	tmp := path + ".mcpoauth-new"
	f, err := createAlone(tmp)
	if err != nil {
		return "", false, err
	}
	moved := false
	defer func() {
		_ = f.Close()
		if !moved { // else the name may be another's by now
			_ = os.Remove(tmp)
		}
	}()
	for try := 0; ; try++ {
		old, mode, err := readHostFile(path)
		if err != nil {
			return "", false, err
		}
		doc, was, err := putMember(old, member, name, entry)
		if err != nil {
			return "", false, err
		}
		if err := f.Truncate(0); err != nil {
			return "", false, err
		}
		if _, err := f.WriteAt(doc, 0); err != nil {
			return "", false, err
		}
		if err := errors.Join(f.Chmod(mode), f.Sync()); err != nil {
			return "", false, err
		}
		if old != nil && backup == "" {
			if backup, err = keepCopy(path, old, mode); err != nil {
				return "", false, err
			}
		}
		// The host may have written meanwhile.
		now, _, err := readHostFile(path)
		if err != nil {
			return "", false, err
		}
		if bytes.Equal(now, old) {
			if err := os.Rename(tmp, path); err != nil {
				return "", false, err
			}
			moved = true
			return backup, was, nil
		}
		if try == 3 {
			return "", false, errors.New("another program keeps changing it")
		}
	}
}

// createAlone creates a file that nobody else has: two that edit at once wait for each other.
func createAlone(path string) (*os.File, error) {
	for end := time.Now().Add(5 * time.Second); ; {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(path) // the process that made it is gone
		} else if time.Now().After(end) {
			return nil, fmt.Errorf("another program is editing it (%s)", path)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func readHostFile(path string) (b []byte, mode fs.FileMode, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0o600, nil
	case err != nil:
		return nil, 0, err
	case !info.Mode().IsRegular() || info.Size() > maxHostFile:
		return nil, 0, errors.New("it is not a file that can be edited")
	case info.Mode().Perm()&0o200 == 0:
		return nil, 0, errors.New("it is read-only")
	}
	b, err = os.ReadFile(path)
	if b == nil {
		b = []byte{}
	}
	return b, info.Mode().Perm(), err
}

// keepCopy writes a copy beside a file, never over an older one.
func keepCopy(path string, b []byte, mode fs.FileMode) (string, error) {
	for n := 0; ; n++ {
		name := path + ".bak"
		if n > 0 {
			name = fmt.Sprintf("%s.bak.%d", path, n)
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, fs.ErrExist) && n < 1000 {
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = f.Write(b)
		return name, errors.Join(err, f.Close())
	}
}

// errTaken means that the entry of a name is not ours: it starts another program, or is for another server.
var errTaken = errors.New("its entry of that name is for another program or another server")

// sameServer reports whether an entry of a host's file is for the same server as ours, and starts this program.
func sameServer(old, entry any) bool {
	ours, ok := entry.(hostEntry)
	if !ok {
		return false
	}
	var was hostEntry
	if b, err := json.Marshal(old); err != nil || json.Unmarshal(b, &was) != nil || len(was.Args) < 2 || len(ours.Args) < 2 {
		return false
	}
	program := strings.TrimSuffix(filepath.Base(was.Command), ".exe")
	if was.Command != ours.Command && program != "mcpoauth" || was.Args[0] != ours.Args[0] {
		return false
	}
	there, err := canonical(was.Args[1])
	if err != nil {
		return false
	}
	here, err := canonical(ours.Args[1])
	return err == nil && there == here
}

// putMember returns doc with the entry at member.name. All other bytes of it stay.
func putMember(doc []byte, member, name string, entry any) (out []byte, replaced bool, err error) {
	bom := []byte("\ufeff")
	text, had := bytes.CutPrefix(doc, bom)
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}\n")
	}
	if !json.Valid(text) {
		return nil, false, errNotStrict
	}
	var before map[string]any
	if err := json.Unmarshal(text, &before); err != nil || before == nil {
		return nil, false, errors.New("it is not a JSON object")
	}
	if servers, ok := before[member].(map[string]any); ok && servers[name] != nil && !sameServer(servers[name], entry) {
		return nil, false, errTaken
	}
	unit := indentOf(text)
	edit, replaced, err := put(text, []string{member, name}, entry, "", unit)
	if err != nil {
		return nil, false, err
	}
	if bytes.Contains(text, []byte("\r\n")) {
		edit = bytes.ReplaceAll(bytes.ReplaceAll(edit, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	}
	// What was edited must hold what was there, and the entry.
	var after map[string]any
	if err := json.Unmarshal(edit, &after); err != nil {
		return nil, false, errors.New("it cannot be edited safely")
	}
	for _, m := range []map[string]any{before, after} {
		if servers, ok := m[member].(map[string]any); ok {
			delete(servers, name)
			if len(servers) == 0 {
				delete(m, member)
			}
		}
	}
	if !reflect.DeepEqual(before, after) {
		return nil, false, errors.New("it cannot be edited safely")
	}
	if had {
		edit = append(bom, edit...)
	}
	return edit, replaced, nil
}

// span is a member of an object in a text: where its key and its value begin, and where it ends.
type span struct {
	key             string
	start, val, end int
}

// members returns the members of the object that text begins with, and where its closing brace is. text is JSON.
func members(text []byte) (all []span, brace int, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, 0, errors.New("the member that holds the entries is not an object")
	}
	for dec.More() {
		start := int(dec.InputOffset())
		for text[start] != '"' {
			start++
		}
		key, err := dec.Token()
		if err != nil {
			return nil, 0, err
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, 0, err
		}
		end := int(dec.InputOffset())
		all = append(all, span{key.(string), start, end - len(raw), end}) // a key is
	}
	brace = int(dec.InputOffset())
	for text[brace] != '}' {
		brace++
	}
	return all, brace, nil
}

// put returns text, an object whose line is indented by indent, with the value at path.
func put(text []byte, path []string, value any, indent, unit string) (out []byte, replaced bool, err error) {
	all, brace, err := members(text)
	if err != nil {
		return nil, false, err
	}
	for i, m := range all {
		if m.key != path[0] {
			continue
		}
		if slices.ContainsFunc(all[i+1:], func(other span) bool { return other.key == m.key }) {
			return nil, false, fmt.Errorf("it contains %q twice", clean(m.key))
		}
		inner := text[m.val:m.end]
		if len(path) > 1 {
			if inner, replaced, err = put(inner, path[1:], value, indent+unit, unit); err != nil {
				return nil, false, err
			}
		} else if inner, err = encode(value, indent+unit, unit); err != nil {
			return nil, false, err
		} else {
			replaced = true
		}
		return bytes.Join([][]byte{text[:m.val], inner, text[m.end:]}, nil), replaced, nil
	}
	for i := len(path) - 1; i > 0; i-- {
		value = map[string]any{path[i]: value}
	}
	inner, err := encode(value, indent+unit, unit)
	if err != nil {
		return nil, false, err
	}
	key, err := encode(path[0], "", "")
	if err != nil {
		return nil, false, err
	}
	line := append(append(append([]byte("\n"+indent+unit), key...), ": "...), inner...)
	if len(all) > 0 {
		last := all[len(all)-1].end
		return bytes.Join([][]byte{text[:last], append([]byte{','}, line...), text[last:]}, nil), false, nil
	}
	open := bytes.IndexByte(text, '{') + 1
	return bytes.Join([][]byte{text[:open], line, []byte("\n" + indent), text[brace:]}, nil), false, nil
}

// encode is a value as JSON, without escapes that nobody can read, its lines after the first indented.
func encode(v any, indent, unit string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent(indent, unit)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// indentOf is what the lines of a JSON text are indented by.
func indentOf(text []byte) string {
	for line := range bytes.Lines(text) {
		if rest := bytes.TrimLeft(line, " \t"); len(rest) < len(line) && len(bytes.TrimSpace(rest)) > 0 {
			return string(line[:len(line)-len(rest)])
		}
	}
	return "  "
}
