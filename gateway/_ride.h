/* The types of _gear.c, and the seat of one session: what it knows, going aboard, coming
 * ashore. Include Python.h, stdint.h, string.h, structmember.h, recorder/_entry.h and
 * protocols/postgres/_refrain.h first. */
#ifndef WIREWARDEN_RIDE_H
#define WIREWARDEN_RIDE_H

#define READ_MOST 16384
#define STATEMENTS_MOST 64
#define TOUCHED_MOST 128
#define COPY_MOST (TOUCHED_MOST * (size_t)READ_MOST)
#define DATA_FIRST 0x02D7u /* the first word of a DATA record without events */
/* What a record takes beside its parameters and bytes, at most. */
#define RECORD_MOST (RECORD_HEADER + 16 * UINT_MOST + 32)
#define WATCHED 2

enum { CLIENT, UPSTREAM };

/* What changes with every record, so that one can be taken back. */
typedef struct {
    uint64_t seq;         /* of the next record */
    uint64_t number;      /* of the next command */
    uint64_t arrived[2];  /* bytes, by side; with a request under way, counted */
    uint64_t left[2];
    uint64_t done;        /* requests that were replied to */
    uint64_t moved;
    uint64_t masked;      /* the number of the last command whose results are looked at */
    uint64_t verdicts[2];
    int64_t room;         /* bytes of records that fit before Python has to look */
    Refrain *unnamed;     /* the unnamed statement, NULL: not known */
    uint64_t renewed;     /* 1 + the `done` after which the Parse came that made it; 0: none did */
    int under_way;
    uint8_t status;       /* as the last reply has it, 0: none came */
    uint8_t rested;       /* some reply said that no transaction is open */
    uint8_t veiled;       /* results were looked at since */
    uint8_t kept;         /* `request` is the last one */
    uint8_t rows;         /* what the last reply said of its rows */
    uint8_t suspended;    /* and that there may be more */
} State;

/* Where records go next: the place in its segment, and what frames are made with. */
typedef struct {
    uint64_t end, base;
    uint32_t seed, segment;
} Place;

typedef struct Gear Gear;

typedef struct {
    PyObject_HEAD
    Gear *gear;
    PyObject *rider; /* while it is aboard */
    PyObject *log;
    int fds[2];
    char aboard;
    char touched; /* in this round */
    unsigned long long passed; /* the round in which Python was given something of it */
    int out;      /* the side that `raw` goes to */
    State now, before;
    uint64_t session, start, until;
    uint32_t limit, segment;
    Refrain known[STATEMENTS_MOST];
    int count, oldest;
    Asked asked; /* the last request */
    PyObject *decision; /* of the command `masked` */
    uint8_t *request;
    size_t request_size, request_room;
    uint64_t *places;
    size_t placed, placed_before, places_room;
    const uint8_t *raw;
    size_t size, packed_at;
    uint32_t packed;
    PyObject *watched; /* a dict */
    PyObject *keys[WATCHED], *values[WATCHED];
} Ride;

struct Gear {
    PyObject_HEAD
    int epoll;
    PyObject *needles; /* tuple of bytes */
    uint8_t *second;   /* 8 KiB of bits: pairs of bytes with which a needle begins */
    Ride **rides;      /* by descriptor; each holds a reference for its client's */
    int rides_size;
    Ride *touched[TOUCHED_MOST];
    int touched_count;
    uint8_t *copy; /* what was read in this round */
    size_t copied;
    uint8_t *pack;
    size_t packed, pack_room;
    unsigned long long rounds, records;
};

static PyTypeObject RideType;

/* -- a session's place ---------------------------------------------------- */

static int ride_traverse(Ride *self, visitproc visit, void *arg)
{
    Py_VISIT(self->gear);
    Py_VISIT(self->rider);
    Py_VISIT(self->log);
    Py_VISIT(self->decision);
    Py_VISIT(self->watched);
    for (int i = 0; i < WATCHED; i++)
        Py_VISIT(self->values[i]);
    for (int i = 0; i < self->count; i++) {
        Py_VISIT(self->known[i].subject);
        Py_VISIT(self->known[i].decision);
    }
    return 0;
}

static void ride_forget(Ride *self)
{
    while (self->count > 0) {
        Refrain *last = self->known + --self->count;
        Py_CLEAR(last->name);
        Py_CLEAR(last->prelude);
        Py_CLEAR(last->subject);
        Py_CLEAR(last->fields);
        Py_CLEAR(last->types);
        Py_CLEAR(last->decision);
    }
    self->oldest = 0;
    self->asked.found = NULL;
}

/* Lets go of what is held while aboard. */
static void ride_let_go(Ride *self)
{
    Py_CLEAR(self->rider);
    Py_CLEAR(self->log);
    Py_CLEAR(self->decision);
    Py_CLEAR(self->watched);
    for (int i = 0; i < WATCHED; i++) {
        Py_CLEAR(self->keys[i]);
        Py_CLEAR(self->values[i]);
    }
}

static int ride_clear(Ride *self)
{
    ride_forget(self);
    Py_CLEAR(self->gear);
    ride_let_go(self);
    return 0;
}

static void ride_dealloc(Ride *self)
{
    PyObject_GC_UnTrack(self);
    ride_clear(self);
    PyMem_Free(self->request);
    PyMem_Free(self->places);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int not_ashore(Ride *self)
{
    if (!self->aboard)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "the session is aboard");
    return 1;
}

static PyObject *ride_forget_all(Ride *self, PyObject *ignored)
{
    (void)ignored;
    if (not_ashore(self))
        return NULL;
    ride_forget(self);
    Py_RETURN_NONE;
}

/* Where what is learnt of that statement is put: it may be known, or another makes room. */
static Refrain *ride_place(Ride *self, PyObject *name, PyObject *prelude, PyObject *subject)
{
    const uint8_t *raw = (uint8_t *)PyBytes_AS_STRING(name);
    size_t length = (size_t)PyBytes_GET_SIZE(name);
    Refrain *at = NULL;
    if (length > 0)
        at = refrain_named(self->known, self->count, raw, length);
    else if (prelude != Py_None)
        at = refrain_parsed(self->known, self->count, (uint8_t *)PyBytes_AS_STRING(prelude),
                            (size_t)PyBytes_GET_SIZE(prelude));
    else
        for (int i = 0; at == NULL && i < self->count; i++)
            if (self->known[i].subject == subject)
                at = self->known + i;
    if (at != NULL)
        return at;
    if (self->count < STATEMENTS_MOST) {
        at = self->known + self->count++;
        memset(at, 0, sizeof *at);
        return at;
    }
    at = self->known + self->oldest;
    self->oldest = (self->oldest + 1) % STATEMENTS_MOST;
    return at;
}

static PyObject *ride_learn(Ride *self, PyObject *args)
{
    PyObject *name, *prelude, *subject, *fields, *types, *decision;
    int masked, verdict;
    unsigned long long shape, prepared;
    Refrain *at;
    if (!PyArg_ParseTuple(args, "SOOOO!piKKO", &name, &prelude, &subject, &fields, &PyTuple_Type,
                          &types, &masked, &verdict, &shape, &prepared, &decision) ||
        not_ashore(self))
        return NULL;
    if (verdict < 0 || verdict > 1 || (fields != Py_None && !PyBytes_Check(fields)) ||
        (prelude != Py_None && (!PyBytes_Check(prelude) || PyBytes_GET_SIZE(name) > 0))) {
        PyErr_SetString(PyExc_ValueError, "not a statement that can be known");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(types); i++) {
        PyObject *text = PyTuple_GET_ITEM(types, i);
        if (!PyBytes_Check(text) || PyBytes_GET_SIZE(text) > TYPE_MOST) {
            PyErr_SetString(PyExc_ValueError, "not the name of a type");
            return NULL;
        }
    }
    at = ride_place(self, name, prelude, subject);
    Py_XSETREF(at->name, Py_NewRef(name));
    Py_XSETREF(at->prelude, prelude == Py_None ? NULL : Py_NewRef(prelude));
    Py_XSETREF(at->subject, Py_NewRef(subject));
    Py_XSETREF(at->fields, fields == Py_None ? NULL : Py_NewRef(fields));
    Py_XSETREF(at->types, Py_NewRef(types));
    Py_XSETREF(at->decision, Py_NewRef(decision));
    at->masked = masked;
    at->verdict = verdict;
    at->shape = shape;
    at->prepared = prepared;
    Py_RETURN_NONE;
}

static PyObject *ride_board(Ride *self, PyObject *args)
{
    PyObject *rider, *log, *watched, *unnamed;
    PyObject *keys[WATCHED], *values[WATCHED];
    Gear *gear = self->gear;
    State now = {0};
    int fds[2];
    unsigned long long until;
    unsigned int segment;
    long long room;
    if (!PyArg_ParseTuple(args, "OO(ii)KK(KK)(KK)KLI(OOOOO)O", &rider, &log, &fds[0], &fds[1],
                          &now.number, &now.seq, &now.arrived[0], &now.arrived[1], &now.left[0],
                          &now.left[1], &until, &room, &segment, &watched, &keys[0], &values[0],
                          &keys[1], &values[1], &unnamed) ||
        not_ashore(self))
        return NULL;
    if (!PyDict_Check(watched) || fds[0] < 0 || fds[1] < 0 || fds[0] == fds[1]) {
        PyErr_SetString(PyExc_ValueError, "nothing to ride on");
        return NULL;
    }
    for (int side = 0; side < 2; side++) {
        if (fds[side] >= gear->rides_size) {
            int size = fds[side] * 2 + 64;
            Ride **rides = PyMem_Resize(gear->rides, Ride *, size);
            if (rides == NULL)
                return PyErr_NoMemory();
            memset(rides + gear->rides_size, 0,
                   (size_t)(size - gear->rides_size) * sizeof *rides);
            gear->rides = rides;
            gear->rides_size = size;
        }
        if (gear->rides[fds[side]] != NULL) {
            PyErr_SetString(PyExc_ValueError, "somebody else rides on that descriptor");
            return NULL;
        }
    }
    now.room = room;
    for (int i = 0; i < self->count; i++)
        if (self->known[i].subject == unnamed)
            now.unnamed = self->known + i;
    self->now = now;
    self->until = until;
    self->segment = segment;
    self->fds[0] = fds[0];
    self->fds[1] = fds[1];
    self->placed = 0;
    Py_XSETREF(self->rider, Py_NewRef(rider));
    Py_XSETREF(self->log, Py_NewRef(log));
    Py_XSETREF(self->watched, Py_NewRef(watched));
    for (int i = 0; i < WATCHED; i++) {
        Py_XSETREF(self->keys[i], Py_NewRef(keys[i]));
        Py_XSETREF(self->values[i], Py_NewRef(values[i]));
    }
    self->aboard = 1;
    gear->rides[fds[0]] = (Ride *)Py_NewRef(self);
    gear->rides[fds[1]] = self;
    Py_RETURN_NONE;
}

static PyObject *ride_leave(Ride *self, PyObject *ignored)
{
    PyObject *result, *renewed = Py_None, *subject = Py_None, *fields = Py_None;
    State *now = &self->now;
    (void)ignored;
    if (!self->aboard || self->touched) {
        PyErr_SetString(PyExc_RuntimeError, "the session is not aboard, or in a round");
        return NULL;
    }
    if (now->renewed)
        renewed = now->unnamed->subject;
    if (now->kept) {
        subject = self->asked.found->subject;
        if (self->asked.found->fields != NULL)
            fields = self->asked.found->fields;
    }
    result = Py_BuildValue(
        "((K(KK)(KK)(KK)Ly#)KO" "(KK(KK)KiNNOKy#ONiON))", now->seq, now->arrived[0],
        now->arrived[1], now->left[0], now->left[1], now->verdicts[0], now->verdicts[1],
        (long long)now->room, self->places != NULL ? (char *)self->places : "",
        (Py_ssize_t)(self->placed * 8), now->moved,
        self->decision != NULL ? self->decision : Py_None, now->done, now->number,
        now->arrived[0], now->arrived[1], now->masked, now->status, PyBool_FromLong(now->rested),
        PyBool_FromLong(now->veiled), renewed, now->renewed ? now->renewed - 1 : 0,
        now->kept ? (char *)self->request : "",
        (Py_ssize_t)(now->kept ? self->request_size : 0), subject,
        PyBool_FromLong(now->under_way), now->rows, fields,
        PyBool_FromLong(now->suspended));
    if (result == NULL)
        return NULL;
    self->aboard = 0;
    self->asked.found = NULL;
    self->gear->rides[self->fds[0]] = self->gear->rides[self->fds[1]] = NULL;
    ride_let_go(self);
    PyMem_Free(self->request);
    PyMem_Free(self->places);
    self->request = NULL;
    self->places = NULL;
    self->request_room = self->places_room = self->placed = 0;
    Py_DECREF(self); /* the table's */
    return result;
}

static PyMethodDef ride_methods[] = {
    {"learn", (PyCFunction)ride_learn, METH_VARARGS, NULL},
    {"forget", (PyCFunction)ride_forget_all, METH_NOARGS, NULL},
    {"board", (PyCFunction)ride_board, METH_VARARGS, NULL},
    {"leave", (PyCFunction)ride_leave, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef ride_members[] = {
    {"aboard", T_BOOL, offsetof(Ride, aboard), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject RideType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "gateway._gear.Ride",
    .tp_basicsize = sizeof(Ride),
    .tp_dealloc = (destructor)ride_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_traverse = (traverseproc)ride_traverse,
    .tp_clear = (inquiry)ride_clear,
    .tp_methods = ride_methods,
    .tp_members = ride_members,
};

#endif
