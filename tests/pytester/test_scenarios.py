"""What each scenario must give."""


def test_a_task_left_on_a_function_loop_fails_its_test(judged):
    words, text = judged("""
        async def test_leaks():
            asyncio.create_task(forever(), name="poller")

        async def test_is_clean():
            await asyncio.sleep(0)
    """)
    assert words == {"test_leaks": "FAILED", "test_is_clean": "PASSED"}
    assert "1 task outlived `test_leaks`: task 'poller', forever, waits on `Event.wait`" in text
