"""SQLAlchemy 2 on psycopg through the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from stack import Stack

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("drivers")]


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(50), unique=True)
    books: Mapped[list[Book]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    extra: Mapped[dict[str, Any]] = mapped_column(sa.JSON, default=dict)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


Author.__annotations__["books"] = Mapped[list["Book"]]


@pytest.fixture
def engine(open_gate: Stack) -> Iterator[sa.Engine]:
    url = sa.URL.create(
        "postgresql+psycopg", "agent", open_gate.token(), "127.0.0.1", open_gate.port, "shop",
        {"sslmode": "disable"},
    )  # fmt: skip
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


def test_orm(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.add_all(
            Author(name=f"a{n}", books=[Book(title=f"b{n}-{m}", extra={"m": m}) for m in range(3)])
            for n in range(20)
        )
        session.commit()
        found = session.scalars(
            sa.select(Book).join(Author).where(Author.name == "a7").order_by(Book.title)
        ).all()
        assert [b.title for b in found] == ["b7-0", "b7-1", "b7-2"]
        assert found[2].extra == {"m": 2}
        found[0].title = "changed"
        session.rollback()
        assert session.scalar(sa.select(sa.func.count()).where(Book.title == "changed")) == 0
        session.delete(session.scalars(sa.select(Author).where(Author.name == "a7")).one())
        session.commit()
        assert session.scalar(sa.select(sa.func.count(Book.id))) == 57


def test_a_constraint(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.add_all([Author(name="same"), Author(name="same")])
        with pytest.raises(sa.exc.IntegrityError, match="duplicate key"):
            session.flush()
        session.rollback()
        assert session.scalar(sa.select(sa.func.count(Author.id))) == 0


def test_reflection(engine: sa.Engine) -> None:
    inspector = sa.inspect(engine)
    assert {"authors", "books", "users"} <= set(inspector.get_table_names())
    assert inspector.get_foreign_keys("books")[0]["referred_table"] == "authors"
    assert inspector.get_view_names() == ["contacts", "shouted"]
    columns = {c["name"]: str(c["type"]) for c in inspector.get_columns("users")}
    assert columns["score"] == "NUMERIC(8, 2)"
    table = sa.Table("users", sa.MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        assert connection.execute(sa.select(table.c.name).order_by(table.c.id)).scalars().all() == [
            "Ada", "Grace", "Nobody",
        ]  # fmt: skip
