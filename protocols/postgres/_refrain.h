/* Requests that a session has been asked about, come again, and their replies.
 *
 * Only what is exactly of one shape is known here; whatever is not is left to
 * clientlane.py and serverlane.py, which are the reference, and judge it. A request:
 *
 *     [Parse (unnamed, as one in the list was)] Bind (unnamed portal, a statement that
 *     is in the list) [Describe that portal] Execute that portal, Sync, and nothing after it
 *
 * A reply: [ParseComplete] BindComplete [RowDescription or NoData] DataRow*
 * CommandComplete or PortalSuspended, ReadyForQuery outside of a transaction or within one that has not failed,
 * and nothing after it.
 *
 * Every read is behind a comparison with the end of the message that it is in;
 * lengths are compared with what is left, so that no sum can overflow. Include
 * Python.h, stdint.h and string.h first, and recorder/_entry.h. */
#ifndef WIREWARDEN_REFRAIN_H
#define WIREWARDEN_REFRAIN_H

#define REQUEST_MOST 8192   /* bytes */
#define PARAMETERS_MOST 64
#define TYPE_MOST 24        /* bytes of what a binary parameter's text begins with */

/* What a parameter list of such a request takes as msgpack, at most: hex doubles. */
#define SHOWN_MOST (3 + PARAMETERS_MOST * (3 + TYPE_MOST) + 2 * REQUEST_MOST)

/* What is known of a statement. */
typedef struct {
    PyObject *name;     /* bytes */
    PyObject *prelude;  /* bytes: the Parse that makes it the unnamed one. NULL: there is none */
    PyObject *subject;  /* the statement, as the conversation knows it */
    PyObject *fields;   /* bytes: the one RowDescription whose rows may be shown. NULL: none may */
    PyObject *types;    /* tuple of bytes: how texts of binary parameters begin */
    PyObject *decision; /* as the relay knows it */
    int masked;         /* results are looked at: the RowDescription has to be `fields` */
    int verdict;
    uint64_t shape;     /* of its commands on record */
    uint64_t prepared;  /* of its Parses */
} Refrain;

/* A request, but for its values. */
typedef struct {
    Refrain *found;
    const uint8_t *values, *end; /* of its Bind, from the formats on */
    int parsed, described;
} Asked;

/* What a reply says. `rows` is one of protocols/recurring.py's Rows. */
typedef struct {
    uint8_t status;
    uint8_t rows;
    uint8_t suspended; /* there may be more of them */
} Replied;

enum { ROWS_UNTOLD, ROWS_NONE, ROWS_DESCRIBED, ROWS_CAME };

static inline uint32_t refrain_get32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

static inline size_t refrain_get16(const uint8_t *p)
{
    return ((size_t)p[0] << 8) | p[1];
}

static inline int refrain_is(PyObject *bytes, const uint8_t *p, size_t length)
{
    return (size_t)PyBytes_GET_SIZE(bytes) == length &&
           memcmp(PyBytes_AS_STRING(bytes), p, length) == 0;
}

/* The statement that a name of `length` bytes is of, not the unnamed one, or NULL. */
static Refrain *refrain_named(Refrain *known, int count, const uint8_t *name, size_t length)
{
    for (int i = 0; i < count; i++)
        if (refrain_is(known[i].name, name, length))
            return known + i;
    return NULL;
}

/* The unnamed statement that a whole Parse of `length` bytes makes, or NULL. */
static Refrain *refrain_parsed(Refrain *known, int count, const uint8_t *raw, size_t length)
{
    for (int i = 0; i < count; i++)
        if (known[i].prelude != NULL && refrain_is(known[i].prelude, raw, length))
            return known + i;
    return NULL;
}

/* Packs what is shown of one value. NULL: it is left to Python. */
static uint8_t *refrain_show(uint8_t *out, const Refrain *known, size_t number, int form,
                             const uint8_t *value, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const char *type = "binary:";
    size_t length = 7;
    if (form == 0) {
        for (size_t i = 0; i < size; i++)
            if (value[i] & 0x80)
                return NULL;
        out = pack_str(out, size);
        memcpy(out, value, size);
        return out + size;
    }
    if (number < (size_t)PyTuple_GET_SIZE(known->types)) {
        PyObject *text = PyTuple_GET_ITEM(known->types, (Py_ssize_t)number);
        type = PyBytes_AS_STRING(text);
        length = (size_t)PyBytes_GET_SIZE(text);
    }
    out = pack_str(out, length + 2 * size);
    memcpy(out, type, length);
    out += length;
    for (size_t i = 0; i < size; i++) {
        *out++ = (uint8_t)digits[value[i] >> 4];
        *out++ = (uint8_t)digits[value[i] & 15];
    }
    return out;
}

/* Goes through the parameters of a Bind, `at` its formats, `end` its end: packs
 * them to *out, SHOWN_MOST bytes at least. 0: it is left to Python. */
static int refrain_bind(const uint8_t *at, const uint8_t *end, const Refrain *known, uint8_t **out)
{
    const uint8_t *forms;
    size_t formats, count, results;
    if (end - at < 2)
        return 0;
    formats = refrain_get16(at);
    forms = at + 2;
    if (formats > PARAMETERS_MOST || (size_t)(end - forms) < 2 * formats + 2)
        return 0;
    for (size_t i = 0; i < formats; i++)
        if (forms[2 * i] || forms[2 * i + 1] > 1)
            return 0;
    at = forms + 2 * formats;
    count = refrain_get16(at);
    at += 2;
    if (count > PARAMETERS_MOST || (formats > 1 && formats != count))
        return 0;
    if (count)
        *out = pack_array(*out, count);
    else
        *(*out)++ = 0xc0;
    for (size_t i = 0; i < count; i++) {
        uint32_t size;
        if (end - at < 4)
            return 0;
        size = refrain_get32(at);
        at += 4;
        if (size == 0xffffffffu) {
            *(*out)++ = 0xc0;
            continue;
        }
        if (size > (size_t)(end - at))
            return 0;
        *out = refrain_show(*out, known, i, formats == 0 ? 0 : forms[formats > 1 ? 2 * i + 1 : 1],
                            at, size);
        if (*out == NULL)
            return 0;
        at += size;
    }
    if (end - at < 2)
        return 0;
    results = refrain_get16(at);
    return results < 0x8000 && (size_t)(end - at - 2) == 2 * results;
}

/* The request that a client's bytes are, but for its values (refrain_bind). No message may be
 * longer than `limit`; `unnamed` is the unnamed statement, NULL where it isn't known.
 * 0: it is left to Python. */
static int refrain_request(const uint8_t *p, size_t size, Refrain *known, int count,
                           Refrain *unnamed, uint32_t limit, Asked *asked)
{
    static const uint8_t describe[] = {'D', 0, 0, 0, 6, 'P', 0};
    static const uint8_t execute[] = {'E', 0, 0, 0, 9, 0};
    static const uint8_t sync[] = {'S', 0, 0, 0, 4};
    const uint8_t *end, *stop;
    uint32_t length;
    size_t rest;
    if (size < 20 || size > REQUEST_MOST || limit < 9)
        return 0;
    asked->parsed = p[0] == 'P';
    if (asked->parsed) {
        length = refrain_get32(p + 1);
        if (length > limit || length > size - 1)
            return 0;
        unnamed = refrain_parsed(known, count, p, (size_t)length + 1);
        if (unnamed == NULL)
            return 0;
        p += 1 + length;
        size -= 1 + length;
        if (size < 20)
            return 0;
    }
    if (p[0] != 'B' || p[5] != 0)
        return 0;
    length = refrain_get32(p + 1);
    if (length < 8 || length > limit || length > size - 1)
        return 0;
    end = p + 1 + length;
    stop = memchr(p + 6, 0, (size_t)(end - p - 6));
    if (stop == NULL || (asked->parsed && stop != p + 6))
        return 0;
    asked->found = stop == p + 6 ? unnamed
                                 : refrain_named(known, count, p + 6, (size_t)(stop - p - 6));
    if (asked->found == NULL)
        return 0;
    asked->values = stop + 1;
    asked->end = end;
    rest = size - 1 - length;
    asked->described = rest >= sizeof describe && memcmp(end, describe, sizeof describe) == 0;
    if (asked->described) {
        end += sizeof describe;
        rest -= sizeof describe;
    } else if (asked->found->masked) {
        return 0;
    }
    return rest == sizeof execute + 4 + sizeof sync &&
           memcmp(end, execute, sizeof execute) == 0 &&
           memcmp(end + sizeof execute + 4, sync, sizeof sync) == 0;
}

/* Is this the whole reply to `asked`, with nothing in it to look at? */
static int refrain_reply(const uint8_t *p, size_t size, const Asked *asked, Replied *replied)
{
    static const uint8_t done[] = {'1', 0, 0, 0, 4, '2', 0, 0, 0, 4};
    static const uint8_t ready[] = {'Z', 0, 0, 0, 5};
    const uint8_t *end = p + size, *from = asked->parsed ? done : done + 5;
    const Refrain *known = asked->found;
    size_t first = asked->parsed ? 10 : 5;
    int rows = !known->masked, described = asked->described;
    if (size < first || memcmp(p, from, first) != 0)
        return 0;
    p += first;
    replied->rows = ROWS_UNTOLD;
    for (;;) {
        uint32_t length;
        if (end - p < 5)
            return 0;
        length = refrain_get32(p + 1);
        if (length < 4 || length > (size_t)(end - p - 1))
            return 0;
        if (described) {
            described = 0;
            replied->rows = ROWS_DESCRIBED;
            if (p[0] == 'n' && length == 4) {
                rows = 0;
                replied->rows = ROWS_NONE;
            } else if (p[0] != 'T') {
                return 0;
            } else if (known->masked) {
                if (known->fields == NULL || !refrain_is(known->fields, p + 5, length - 4))
                    return 0;
                rows = 1;
            }
        } else if (p[0] == 'D') {
            if (!rows || length < 6)
                return 0;
            if (replied->rows == ROWS_DESCRIBED)
                replied->rows = ROWS_CAME;
        } else if (p[0] == 'C' || (p[0] == 's' && length == 4)) {
            replied->suspended = p[0] == 's';
            p += 1 + length;
            if ((size_t)(end - p) != sizeof ready + 1 || memcmp(p, ready, sizeof ready) != 0)
                return 0;
            replied->status = p[5];
            return p[5] == 'I' || p[5] == 'T';
        } else {
            return 0;
        }
        p += 1 + length;
    }
}

#endif
