"""What a transaction offers, and what its replacement must."""

from resolver.fees import Offer, market_offer, replacing

LIMITS = {"least_tip": 1, "most_tip": 50, "cap": 1000}


def test_the_market() -> None:
    # base, suggested tip -> offer
    for base, tip, expected in (
        (100, 10, Offer(most=210, tip=10)),
        (100, 0, Offer(most=201, tip=1)),  # never below the least
        (100, 70, Offer(most=250, tip=50)),  # nor above the most
        (600, 10, Offer(most=1000, tip=10)),  # the cap instead of twice the base fee
        (990, 10, Offer(most=1000, tip=10)),
        (991, 10, None),  # the cap does not pay for it
    ):
        assert market_offer(base=base, tip=tip, **LIMITS) == expected


def test_a_replacement() -> None:
    low = Offer(most=12, tip=2)
    for older, market, expected in (
        ([], low, low),
        ([Offer(most=100, tip=10)], low, Offer(most=110, tip=11)),
        ([Offer(most=101, tip=11)], low, Offer(most=112, tip=13)),  # rounded up
        ([Offer(most=100, tip=10), Offer(most=110, tip=11)], low, Offer(most=121, tip=13)),
        ([Offer(most=100, tip=10)], Offer(most=500, tip=1), Offer(most=500, tip=11)),  # at least the market
        ([Offer(most=100, tip=10)], None, Offer(most=110, tip=11)),
        ([Offer(most=909, tip=10)], low, Offer(most=1000, tip=11)),
        ([Offer(most=910, tip=10)], low, None),  # 10% more is above the cap
        ([], None, None),
    ):
        assert replacing(older, market, 1000) == expected
