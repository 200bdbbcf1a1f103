package sqlitefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRowsAsSQLiteWroteThem: numbers of every size, text, bytes, rows on many pages and longer than a page, deleted ones,
// and a column that was added later.
func TestRowsAsSQLiteWroteThem(t *testing.T) {
	t.Parallel()
	rows, err := Rows(filepath.Join("testdata", "many.db"), "t")
	if err != nil {
		t.Fatal(err)
	}
	numbers := []any{
		int64(0), int64(1), int64(-1), int64(127), int64(-128), int64(32767), int64(-32768), int64(8388607), int64(-8388608), int64(2147483647), int64(-2147483648),
		int64(140737488355327), int64(-140737488355328), int64(9223372036854775807), int64(-9223372036854775808), nil,
	}
	var want []Row
	for i := range 120 {
		if (i+1)%10 == 0 {
			continue // deleted
		}
		r := Row{"rowid": nil, "n": numbers[i%16], "r": nil, "s": strings.Repeat(fmt.Sprintf("é%d ", i), i%40), "b": []byte(strings.Repeat(string([]byte{byte(i)}), i*7%900))}
		if i%3 != 0 {
			r["r"] = float64(i) / 4
			if i%4 == 0 {
				r["r"] = int64(i / 4) // SQLite keeps whole numbers as such
			}
		}
		want = append(want, r)
	}
	want = append(want, Row{"rowid": nil, "n": int64(7), "r": nil, "s": "a,b", "b": nil, "late": "last"})
	if len(rows) != len(want) {
		t.Fatalf("%d rows, want %d", len(rows), len(want))
	}
	for i := range rows {
		if !reflect.DeepEqual(rows[i], want[i]) {
			t.Errorf("row %d: %v, want %v", i, rows[i], want[i])
		}
	}
}

// TestTheWriteAheadLog: what was committed counts, and nothing of an earlier use of the log.
func TestTheWriteAheadLog(t *testing.T) {
	t.Parallel()
	values := func(rows []Row) map[any]any {
		m := map[any]any{}
		for _, r := range rows {
			m[r["k"]] = r["v"]
		}
		return m
	}
	old := strings.Repeat("old", 20)
	rows, err := Rows(filepath.Join("testdata", "log.db"), "t")
	if got := values(rows); err != nil || len(got) != 30 || got[int64(3)] != "new" || got[int64(100)] != "added" || got[int64(4)] != nil || got[int64(5)] != old {
		t.Errorf("%v, %v", got, err)
	}
	db, wal := read(t, "log.db"), read(t, "log.db-wal")
	rows, err = Parse(db, nil, "t")
	if got := values(rows); err != nil || len(got) != 30 || got[int64(3)] != old || got[int64(4)] != old {
		t.Errorf("without the log: %v, %v", got, err)
	}
	// Cut anywhere, the log is good to the last transaction that is whole.
	for n := range wal {
		if n%97 != 0 {
			continue
		}
		rows, err := Parse(db, wal[:n], "t")
		if got := values(rows); err != nil || len(got) < 29 || got[int64(5)] != old {
			t.Errorf("the first %d bytes: %v, %v", n, got, err)
		}
	}
	// A frame that is damaged, and what follows it, does not count.
	bad := append([]byte(nil), wal...)
	bad[32+24+100] ^= 1
	rows, err = Parse(db, bad, "t")
	if got := values(rows); err != nil || got[int64(3)] != old {
		t.Errorf("a damaged frame: %v, %v", got, err)
	}
}

func TestWhatIsNotRead(t *testing.T) {
	t.Parallel()
	many := read(t, "many.db")
	change := func(f func(b []byte)) []byte {
		b := append([]byte(nil), many...)
		f(b)
		return b
	}
	for name, tc := range map[string]struct {
		file []byte
		want error
	}{
		"nothing":              {nil, ErrFormat},
		"another file":         {[]byte(strings.Repeat("x", 4096)), ErrFormat},
		"a page size":          {change(func(b []byte) { binary.BigEndian.PutUint16(b[16:], 1000) }), ErrFormat},
		"no room on a page":    {change(func(b []byte) { b[20] = 200 }), ErrFormat},
		"UTF-16":               {read(t, "utf16.db"), ErrFormat},
		"cut short":            {many[:2048], ErrDamaged},
		"only its first page":  {many[:512], ErrDamaged},
		"a page of no table":   {change(func(b []byte) { b[100] = 0x0a }), ErrDamaged},
		"too many cells":       {change(func(b []byte) { binary.BigEndian.PutUint16(b[103:], 0xffff) }), ErrDamaged},
		"a cell out of a page": {change(func(b []byte) { binary.BigEndian.PutUint16(b[108:], 0xffff) }), ErrDamaged},
		"a table that is none": {change(func(b []byte) { copy(b, strings.Replace(string(b), `"t"`, `"u"`, 1)) }), nil},
	} {
		if rows, err := Parse(tc.file, nil, "t"); !errors.Is(err, tc.want) || err != nil && rows != nil {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
	}
	if _, err := Parse(many, nil, "none"); !errors.Is(err, ErrNoTable) {
		t.Errorf("no such table: %v", err)
	}
	for path, want := range map[string]bool{"testdata/many.db": true, "sqlitefile.go": false} {
		if got, err := IsDatabase(path); got != want || err != nil {
			t.Errorf("%s: %t, %v", path, got, err)
		}
	}
	if _, err := Rows("testdata", "t"); !errors.Is(err, ErrFormat) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := Rows("testdata/none.db", "t"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestACircleEnds: each page is read once, and the rows together are no larger than the file.
func TestACircleEnds(t *testing.T) {
	t.Parallel()
	const size = 512
	page := func(kind byte, cells int) []byte {
		b := make([]byte, size)
		b[0] = kind
		binary.BigEndian.PutUint16(b[3:], uint16(cells))
		return b
	}
	head := read(t, "many.db")[:size]
	circle := page(interiorTable, 0)
	binary.BigEndian.PutUint32(circle[8:], 2)
	d := &database{file: append(append([]byte(nil), head...), circle...), size: size, usable: size}
	if _, err := d.rows(2, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a circle: %v", err)
	}
	// Two hundred rows that are the same bytes.
	same := page(leafTable, 200)
	for i := range 200 {
		binary.BigEndian.PutUint16(same[8+2*i:], 450)
	}
	copy(same[450:], []byte{50, 1, 2, 86})
	d.file = append(append([]byte(nil), head...), same...)
	if _, err := d.rows(2, []string{"a"}); !errors.Is(err, ErrDamaged) {
		t.Errorf("rows that lie on each other: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(read(f, "many.db"), []byte(nil))
	f.Add(read(f, "log.db"), read(f, "log.db-wal"))
	f.Add(read(f, "utf16.db"), []byte(nil))
	f.Fuzz(func(t *testing.T, db, wal []byte) {
		if len(db)+len(wal) > 1<<20 {
			return
		}
		rows, err := Parse(db, wal, "t")
		if err != nil && rows != nil {
			t.Error("rows and an error")
		}
		total := 0
		for _, r := range rows {
			for _, v := range r {
				switch v := v.(type) {
				case string:
					total += len(v)
				case []byte:
					total += len(v)
				}
			}
		}
		if total > len(db)+len(wal) {
			t.Errorf("%d bytes of %d", total, len(db)+len(wal))
		}
	})
}
