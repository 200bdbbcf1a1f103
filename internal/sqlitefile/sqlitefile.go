// Package sqlitefile reads the rows of a table from an SQLite database without SQLite: what small programs keep in
// one. It reads ordinary tables, whose rows have a number, in UTF-8, and the write-ahead log beside the database
// (sqlite.org, "Database File Format"). It takes no lock and changes nothing. Indexes, views, and encrypted databases
// are not read. The file is not trusted: everything in it is checked, and what is read has limits.
package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
)

const (
	magic = "SQLite format 3\x00"
	// maxFile is how large a database, and its log, may be, in bytes.
	maxFile = 64 << 20
	// maxPayload is how large a row may be, maxRows how many rows a table may have.
	maxPayload = 4 << 20
	maxRows    = 1 << 20
	headerSize = 100
)

// The errors of a file that cannot be read.
var (
	// ErrFormat means that it is no SQLite database, or not one of a kind that is read here.
	ErrFormat = errors.New("it is not an SQLite database that can be read")
	// ErrDamaged means that its content contradicts itself.
	ErrDamaged = errors.New("the SQLite database is damaged, or is being changed")
	// ErrTooLarge means that it exceeds a limit.
	ErrTooLarge = errors.New("the SQLite database is too large")
	// ErrNoTable means that there is no such table.
	ErrNoTable = errors.New("the SQLite database has no such table")
)

// Row is a row of a table: its values by the names of the columns. They are nil, int64, float64, string or []byte. The
// value of a column that is INTEGER PRIMARY KEY is nil, since it is the row's number.
type Row map[string]any

// IsDatabase reports whether a file begins as an SQLite database does. The error is that of opening it.
func IsDatabase(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, len(magic))
	_, err = io.ReadFull(f, head)
	return err == nil && string(head) == magic, nil
}

// Rows returns the rows of a table in the database at path. A write-ahead log is read at path with "-wal" after it.
func Rows(path, table string) ([]Row, error) {
	var db, wal []byte
	for try := 0; ; try++ {
		var err error
		if wal, err = readLog(path); err != nil {
			return nil, err
		}
		if db, err = readFile(path); err != nil {
			return nil, err
		}
		// A checkpoint may have moved the log into the database meanwhile.
		now, err := readLog(path)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(wal, now) {
			break
		}
		if try == 3 {
			return nil, ErrDamaged
		}
	}
	return Parse(db, wal, table)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrFormat
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = ErrTooLarge
	}
	return b, err
}

// readLog returns the write-ahead log of a database, nil if it has none.
func readLog(path string) ([]byte, error) {
	b, err := readFile(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Parse returns the rows of a table in a database, whose write-ahead log is wal; nil is none.
func Parse(db, wal []byte, table string) ([]Row, error) {
	d, err := newDatabase(db, wal)
	if err != nil {
		return nil, err
	}
	root, columns, err := d.table(table)
	if err != nil {
		return nil, err
	}
	return d.rows(root, columns)
}

// database is a file in memory.
type database struct {
	file   []byte
	logged map[uint32][]byte // the pages that the write-ahead log has
	size   int               // of a page
	usable int               // of it
}

func newDatabase(file, wal []byte) (*database, error) {
	d := &database{file: file, logged: map[uint32][]byte{}}
	head := file
	if len(head) < headerSize || string(head[:len(magic)]) != magic {
		return nil, ErrFormat
	}
	d.size = int(binary.BigEndian.Uint16(head[16:]))
	if d.size == 1 {
		d.size = 64 << 10
	}
	if d.size < 512 || d.size&(d.size-1) != 0 {
		return nil, ErrFormat
	}
	d.usable = d.size - int(head[20])
	if d.usable < 480 {
		return nil, ErrFormat
	}
	if err := d.readLog(wal); err != nil {
		return nil, err
	}
	first, err := d.page(1)
	if err != nil {
		return nil, err
	}
	const encoding, utf8 = 56, 1
	if e := binary.BigEndian.Uint32(first[encoding:]); e != utf8 && e != 0 {
		return nil, ErrFormat
	}
	return d, nil
}

// readLog takes the pages of the transactions in the log that were committed. What comes after them, or belongs to an
// earlier use of the log, is left out.
func (d *database) readLog(wal []byte) error {
	const fileHeader, frameHeader = 32, 24
	if len(wal) < fileHeader {
		return nil
	}
	head := wal[:fileHeader]
	var order binary.ByteOrder = binary.LittleEndian
	switch binary.BigEndian.Uint32(head) {
	case 0x377f0682:
	case 0x377f0683:
		order = binary.BigEndian
	default:
		return nil // it is reset, or was never begun
	}
	if int(binary.BigEndian.Uint32(head[8:])) != d.size {
		return ErrDamaged
	}
	var sum checksum
	sum.add(order, head[:24])
	if !sum.is(head[24:]) {
		return nil
	}
	pending := map[uint32][]byte{}
	for rest := wal[fileHeader:]; len(rest) >= frameHeader+d.size; rest = rest[frameHeader+d.size:] {
		frame, page := rest[:frameHeader], rest[frameHeader:frameHeader+d.size]
		if !bytes.Equal(frame[8:16], head[16:24]) {
			break
		}
		sum.add(order, frame[:8])
		sum.add(order, page)
		if !sum.is(frame[16:]) {
			break
		}
		pending[binary.BigEndian.Uint32(frame)] = page
		if binary.BigEndian.Uint32(frame[4:]) != 0 { // the last frame of a transaction
			for n, p := range pending {
				d.logged[n] = p
			}
			clear(pending)
		}
	}
	return nil
}

// checksum is that of a write-ahead log.
type checksum [2]uint32

func (c *checksum) add(order binary.ByteOrder, b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		c[0] += order.Uint32(b) + c[1]
		c[1] += order.Uint32(b[4:]) + c[0]
	}
}

func (c *checksum) is(b []byte) bool {
	return binary.BigEndian.Uint32(b) == c[0] && binary.BigEndian.Uint32(b[4:]) == c[1]
}

// page returns a page. The first has the number 1.
func (d *database) page(n uint32) ([]byte, error) {
	if p, ok := d.logged[n]; ok {
		return p, nil
	}
	if n == 0 || int64(n)*int64(d.size) > int64(len(d.file)) {
		return nil, ErrDamaged
	}
	return d.file[int(n-1)*d.size : int(n)*d.size], nil
}

// table returns the root page of a table, and its columns in order.
func (d *database) table(name string) (root uint32, columns []string, err error) {
	rows, err := d.rows(1, []string{"type", "name", "tbl_name", "rootpage", "sql"})
	if err != nil {
		return 0, nil, err
	}
	for _, r := range rows {
		n, _ := r["rootpage"].(int64)
		sql, _ := r["sql"].(string)
		if r["type"] == "table" && r["name"] == name && n > 0 && n <= 1<<31 {
			return uint32(n), columnsOf(sql), nil
		}
	}
	return 0, nil, ErrNoTable
}

// columnsOf returns the names of the columns in a simple CREATE TABLE.
func columnsOf(sql string) (names []string) {
	begin, end := strings.IndexByte(sql, '('), strings.LastIndexByte(sql, ')')
	if begin < 0 || end < begin {
		return nil
	}
	depth, start := 0, begin+1
	for i := start; i <= end; i++ {
		switch c := sql[i]; {
		case c == '(':
			depth++
		case i == end, c == ',' && depth == 0:
			if f := strings.Fields(sql[start:i]); len(f) > 0 {
				names = append(names, strings.Trim(f[0], "\"`[]"))
			}
			start = i + 1
		case c == ')':
			depth--
		}
	}
	return names
}
