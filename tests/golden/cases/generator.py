"""An async generator that its consumer leaves in the middle."""


async def pages():
    for number in range(10):
        yield number


async def first(generator):
    async for page in generator:
        return page


opened = []


async def test_reads_the_first_page():
    opened.append(pages())
    assert await first(opened[0]) == 0
